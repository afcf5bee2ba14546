package setup

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"outboxd/domain"
)

// SubscriptionQueuePrefix is the beginning of the name of an Asynq queue that carries the deliveries of a
// subscription.
const SubscriptionQueuePrefix = "subscription:"

// The formats of a delivery.
const (
	FormatRaw                   = "raw"                    // the payload as it is
	FormatCloudEvents           = "cloudevents"            // CloudEvents 1.0, binary: the payload as it is, attributes in headers
	FormatCloudEventsStructured = "cloudevents-structured" // CloudEvents 1.0, one JSON document
)

// The orderings of a subscription.
const (
	OrderingKey  = "key"  // deliveries of one ordering key one after another
	OrderingNone = "none" // any number at once
)

// Subscription says which events go to which receiver, and how. A matching event gets one delivery to this
// subscription.
type Subscription struct {
	ID   domain.ID // given by the store; a reused name gets another ID
	Name string    // lower-case letters, digits, '.', '_' and '-'

	// Types are patterns of event types. * stands for any number of characters.
	Types []string
	// Headers are headers and values that a matching event must have.
	Headers map[string]string

	URL string
	// Secrets are references to signing keys, such as env:NAME and file:/path. A
	// subscription has no key, one key, or two while one key replaces the other. The
	// database does not store the keys themselves.
	Secrets     []string
	Format      string
	Timeout     time.Duration // of one attempt
	Concurrency int           // attempts at the same time, in one worker
	Rate        float64       // attempts a second, in one worker; 0: no limit
	Attempts    int           // until the delivery is a dead letter
	RetryMax    time.Duration // the longest wait between two attempts
	Ordering    string
	// InsteadOfQueue says that matching events get only their deliveries, and no task in their own queue.
	InsteadOfQueue bool

	Paused    *Pause        // nil: not paused
	Down      *ReceiverDown // the workers' report that the receiver is down; nil: there is none
	CreatedAt time.Time
	ChangedAt time.Time
	// RemovedAt is when the subscription was removed. After that the relay makes no deliveries. Existing deliveries
	// wait until they are cancelled or the subscription is applied again.
	RemovedAt time.Time
}

// Pause says since when, by whom and why a subscription, a schedule or a queue is paused.
type Pause struct {
	Since  time.Time `json:"since"`
	By     string    `json:"by"` // a person, or the worker that got status 410
	Reason string    `json:"reason"`
}

// ReceiverDown is a worker's report that a receiver is down.
type ReceiverDown struct {
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"` // how the last attempt failed
}

// Queue is the Asynq queue of the subscription's deliveries.
func (s *Subscription) Queue() string { return SubscriptionQueuePrefix + s.Name }

// SubscriptionOfQueue returns the name of the subscription whose deliveries the queue carries. It returns false for
// any other queue.
func SubscriptionOfQueue(queue string) (string, bool) {
	return strings.CutPrefix(queue, SubscriptionQueuePrefix)
}

// WithDefaults returns the subscription with the default for each field that is
// not set.
func (s Subscription) WithDefaults() Subscription {
	if s.Format == "" {
		s.Format = FormatRaw
	}
	if s.Timeout == 0 {
		s.Timeout = 10 * time.Second
	}
	if s.Concurrency == 0 {
		s.Concurrency = 10
	}
	if s.Attempts == 0 {
		s.Attempts = 12
	}
	if s.RetryMax == 0 {
		s.RetryMax = time.Hour
	}
	if s.Ordering == "" {
		s.Ordering = OrderingNone
	}
	return s
}

// The bounds of a subscription.
const (
	maxSubscriptionList = 100 // types, and headers
	maxTypePattern      = 255 // bytes
	maxDeliveryTimeout  = time.Hour
	maxConcurrency      = 1000
	maxAttempts         = 1000
	maxRetryMax         = 7 * 24 * time.Hour
)

// Validate checks a subscription. Call WithDefaults first. The error has domain.CodeInvalid, and Fields with every fault.
func (s *Subscription) Validate() error {
	var f faults
	f.checkName(s.Name)
	s.validateMatch(&f)
	s.validateReceiver(&f)
	if s.Timeout < time.Second || s.Timeout > maxDeliveryTimeout {
		f.add("timeout", "must be between 1s and %s", maxDeliveryTimeout)
	}
	if s.Concurrency < 1 || s.Concurrency > maxConcurrency {
		f.add("concurrency", "must be between 1 and %d", maxConcurrency)
	}
	if s.Rate < 0 {
		f.add("rate", "must not be negative")
	}
	if s.Attempts < 1 || s.Attempts > maxAttempts {
		f.add("retry.attempts", "must be between 1 and %d", maxAttempts)
	}
	if s.RetryMax < time.Second || s.RetryMax > maxRetryMax {
		f.add("retry.max", "must be between 1s and %s", maxRetryMax)
	}
	if s.Ordering != OrderingKey && s.Ordering != OrderingNone {
		f.add("ordering", "must be %s or %s", OrderingKey, OrderingNone)
	}
	return f.err("subscription", s.Name)
}

func (s *Subscription) validateMatch(f *faults) {
	if len(s.Types) == 0 || len(s.Types) > maxSubscriptionList {
		f.add("types", "must name 1 to %d event types; * stands for any characters", maxSubscriptionList)
	}
	for _, t := range s.Types {
		if strings.TrimSpace(t) == "" || len(t) > maxTypePattern || strings.ContainsRune(t, 0) {
			f.add("types", "must be event types of 1 to %d bytes, not %.60q", maxTypePattern, t)
		}
	}
	if len(s.Headers) > maxSubscriptionList {
		f.add("headers", "must be at most %d", maxSubscriptionList)
	}
	for name, value := range s.Headers {
		if name == "" || strings.ContainsRune(name+value, 0) {
			f.add("headers", "must have names, and no zero character")
		}
	}
}

func (s *Subscription) validateReceiver(f *faults) {
	u, err := url.Parse(s.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		f.add("url", "must be an http or https address with a host")
	case u.User != nil:
		f.add("url", "must not contain a user or password; the deliveries are signed by the secret")
	case u.Fragment != "":
		f.add("url", "must not contain a fragment")
	}
	if len(s.Secrets) > 2 {
		f.add("secret", "must be at most two: the new one and the old one")
	}
	for _, reference := range s.Secrets {
		kind, rest, _ := strings.Cut(reference, ":")
		if kind != "env" && kind != "file" || rest == "" || kind == "file" && !strings.HasPrefix(rest, "/") {
			// The invalid value may be a secret, so the message does not repeat it.
			f.add("secret", "must be a reference, env:NAME or file:/path")
		}
	}
	if !slices.Contains([]string{FormatRaw, FormatCloudEvents, FormatCloudEventsStructured}, s.Format) {
		f.add("format", "must be %s, %s or %s", FormatRaw, FormatCloudEvents, FormatCloudEventsStructured)
	}
}

// TypePattern converts a pattern of Types to a pattern for LIKE in SQL.
func TypePattern(pattern string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`, `*`, `%`).Replace(pattern)
}
