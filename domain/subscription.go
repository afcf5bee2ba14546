package domain

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// SubscriptionQueuePrefix begins the name of the Asynq queue that carries the
// deliveries of a subscription.
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

// Subscription says which events go to which receiver, and how. An event that
// matches has one delivery for each subscription.
type Subscription struct {
	ID   ID     // given by the store; a reused name gets another ID
	Name string // lower-case letters, digits, '.', '_' and '-'

	// Types are the event types that match: * stands for any characters.
	Types []string
	// Headers are headers that the event must have, with these values.
	Headers map[string]string

	URL string
	// Secrets are references such as env:NAME and file:/path: none, one, or two
	// while a key is changed. The secrets themselves are not stored.
	Secrets     []string
	Format      string
	Timeout     time.Duration // of one attempt
	Concurrency int           // attempts at the same time, in one worker
	Rate        float64       // attempts a second, in one worker; 0: no limit
	Attempts    int           // until the delivery is a dead letter
	RetryMax    time.Duration // the longest wait between two attempts
	Ordering    string
	// InsteadOfQueue keeps matching events out of their own queue: only their
	// deliveries are made.
	InsteadOfQueue bool

	Paused    *Pause        // nil: not paused
	Down      *ReceiverDown // the workers' report that the receiver is down; nil: it works
	CreatedAt time.Time
	ChangedAt time.Time
	// RemovedAt is when it was removed. No deliveries are made after that.
	// Existing ones wait until they are cancelled or the subscription is applied
	// again.
	RemovedAt time.Time
}

// Pause says since when, by whom and why no delivery of a subscription is
// attempted.
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

// SubscriptionOfQueue returns the name of the subscription whose deliveries a
// queue carries; false for any other queue.
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

// Validate names every fault of a subscription. Call WithDefaults first. Its
// errors have CodeInvalid and Fields.
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
			// The value may be the secret itself, so the message does not
			// repeat it.
			fault("secret", "must be a reference, env:NAME or file:/path")
		}
	}
	if !slices.Contains([]string{FormatRaw, FormatCloudEvents, FormatCloudEventsStructured}, s.Format) {
		fault("format", "must be %s, %s or %s", FormatRaw, FormatCloudEvents, FormatCloudEventsStructured)
	}
}

// TypePattern returns a pattern of Types as a pattern of SQL's LIKE.
func TypePattern(pattern string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`, `*`, `%`).Replace(pattern)
}

// SubscriptionChange is what applying one subscription did.
type SubscriptionChange string

// The changes.
const (
	SubscriptionAdded     SubscriptionChange = "added"
	SubscriptionChanged   SubscriptionChange = "changed"
	SubscriptionUnchanged SubscriptionChange = "unchanged"
)
