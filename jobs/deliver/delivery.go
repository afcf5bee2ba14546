package deliver

import (
	"time"

	"outboxd/domain"
)

// Target says where deliveries go, and how.
type Target struct {
	Name string // of the subscription
	URL  string // http or https
	// Secrets refer to the signing keys, each as env:NAME or file:PATH. They are
	// read for each delivery. Every delivery is signed with all of them, so that
	// a key can be changed without a pause. None: deliveries are not signed.
	Secrets []string
	Format  string        // of domain; raw if empty
	Timeout time.Duration // of one attempt, including the reading of the answer; 10 s if zero
}

// defaultTimeout is the timeout of a Target without one.
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
