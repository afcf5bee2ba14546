package deliver

import (
	"time"

	"outboxd/domain"
)

// Target says to which URL deliveries go, and in which format.
type Target struct {
	Name string // of the subscription
	URL  string // http or https
	// Secrets has references to the signing keys. Each is env:NAME or file:PATH. They are
	// read for each attempt. Every request is signed with all of the keys, so that a
	// receiver can change its key without a pause. None: requests are not signed.
	Secrets []string
	Format  string        // one of the formats of package setup; raw if empty
	Timeout time.Duration // of one attempt, including the reading of the answer; 10 s if zero
}

// defaultTimeout is used for a Target whose Timeout is zero.
const defaultTimeout = 10 * time.Second

// Delivery is an event on its way to one receiver.
type Delivery struct {
	EventID     domain.ID // the webhook-id: the same for every attempt, and for every receiver
	Type, Queue string
	Payload     []byte
	Headers     map[string]string
	CreatedAt   time.Time // zero: not known
	OrderingKey string    // empty: none
	Attempt     int       // from 1
}
