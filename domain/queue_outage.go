package domain

import "fmt"

// QueueOutage is why one of the queues cannot be used while others can. Events
// of that queue wait, without being charged an attempt.
type QueueOutage struct {
	Queue string
	Err   error
}

func (o *QueueOutage) Error() string { return fmt.Sprintf("queue %.100q: %v", o.Queue, o.Err) }

func (o *QueueOutage) Unwrap() error { return o.Err }
