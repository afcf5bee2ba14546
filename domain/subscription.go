package domain

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
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
	ID   ID     // given by the store; a reused name gets another ID
	Name string // lower-case letters, digits, '.', '_' and '-'

	// Types are patterns of event types. * stands for any number of characters.
	Types []string
	// Headers are headers and values that a matching event must have.
	Headers map[string]string

	URL string
	// Secrets are references to signing keys, such as env:NAME and file:/path. There may be none or one, and two
	// while a key is replaced. The database does not store the keys themselves.
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
	Down      *ReceiverDown // the workers' report that the receiver is down; nil: it works
	CreatedAt time.Time
	ChangedAt time.Time
	// RemovedAt is when the subscription was removed. After that the relay makes no deliveries. Existing deliveries
	// wait until they are cancelled or the subscription is applied again.
	RemovedAt time.Time
}

// Pause says since when, by whom and why a subscription is paused, so that no delivery is attempted.
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
	maxSubscriptionName = 63
	maxSubscriptionList = 100 // types, and headers
	maxTypePattern      = 255 // bytes
	maxDeliveryTimeout  = time.Hour
	maxConcurrency      = 1000
	maxAttempts         = 1000
	maxRetryMax         = 7 * 24 * time.Hour
)

var subscriptionName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`)

// Validate checks a subscription. Call WithDefaults first. The error has CodeInvalid, and Fields with every fault.
func (s *Subscription) Validate() error {
	var faults []FieldError
	fault := func(field, format string, args ...any) {
		faults = append(faults, FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	if !subscriptionName.MatchString(s.Name) || len(s.Name) > maxSubscriptionName {
		fault("name", "must have 1 to %d lower-case letters, digits, '.', '_' and '-', and begin with a letter or digit", maxSubscriptionName)
	}
	s.validateMatch(fault)
	s.validateReceiver(fault)
	if s.Timeout < time.Second || s.Timeout > maxDeliveryTimeout {
		fault("timeout", "must be between 1s and %s", maxDeliveryTimeout)
	}
	if s.Concurrency < 1 || s.Concurrency > maxConcurrency {
		fault("concurrency", "must be between 1 and %d", maxConcurrency)
	}
	if s.Rate < 0 {
		fault("rate", "must not be negative")
	}
	if s.Attempts < 1 || s.Attempts > maxAttempts {
		fault("retry.attempts", "must be between 1 and %d", maxAttempts)
	}
	if s.RetryMax < time.Second || s.RetryMax > maxRetryMax {
		fault("retry.max", "must be between 1s and %s", maxRetryMax)
	}
	if s.Ordering != OrderingKey && s.Ordering != OrderingNone {
		fault("ordering", "must be %s or %s", OrderingKey, OrderingNone)
	}
	if faults == nil {
		return nil
	}
	texts := make([]string, len(faults))
	for i, f := range faults {
		texts[i] = f.Field + " " + f.Message
	}
	return &Error{Code: CodeInvalid, Message: fmt.Sprintf("subscription %.60q: %s", s.Name, strings.Join(texts, "; ")), Fields: faults}
}

func (s *Subscription) validateMatch(fault func(field, format string, args ...any)) {
	if len(s.Types) == 0 || len(s.Types) > maxSubscriptionList {
		fault("types", "must name 1 to %d event types; * stands for any characters", maxSubscriptionList)
	}
	for _, t := range s.Types {
		if strings.TrimSpace(t) == "" || len(t) > maxTypePattern || strings.ContainsRune(t, 0) {
			fault("types", "must be event types of 1 to %d bytes, not %.60q", maxTypePattern, t)
		}
	}
	if len(s.Headers) > maxSubscriptionList {
		fault("headers", "must be at most %d", maxSubscriptionList)
	}
	for name, value := range s.Headers {
		if name == "" || strings.ContainsRune(name+value, 0) {
			fault("headers", "must have names, and no zero character")
		}
	}
}

func (s *Subscription) validateReceiver(fault func(field, format string, args ...any)) {
	u, err := url.Parse(s.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		fault("url", "must be an http or https address with a host")
	case u.User != nil:
		fault("url", "must not contain a user or password; the deliveries are signed by the secret")
	case u.Fragment != "":
		fault("url", "must not contain a fragment")
	}
	if len(s.Secrets) > 2 {
		fault("secret", "must be at most two: the new one and the old one")
	}
	for _, reference := range s.Secrets {
		kind, rest, _ := strings.Cut(reference, ":")
		if kind != "env" && kind != "file" || rest == "" || kind == "file" && !strings.HasPrefix(rest, "/") {
			// The invalid value may be a secret, so the message does not repeat it.
			fault("secret", "must be a reference, env:NAME or file:/path")
		}
	}
	if !slices.Contains([]string{FormatRaw, FormatCloudEvents, FormatCloudEventsStructured}, s.Format) {
		fault("format", "must be %s, %s or %s", FormatRaw, FormatCloudEvents, FormatCloudEventsStructured)
	}
}

// TypePattern converts a pattern of Types to a pattern for LIKE in SQL.
func TypePattern(pattern string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`, `*`, `%`).Replace(pattern)
}

// SubscriptionChange says what applying one subscription changed.
type SubscriptionChange string

// The changes.
const (
	SubscriptionAdded     SubscriptionChange = "added"
	SubscriptionChanged   SubscriptionChange = "changed"
	SubscriptionUnchanged SubscriptionChange = "unchanged"
)
