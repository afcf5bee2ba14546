package domain

import "fmt"

// QueueOutage says why one queue cannot be used while others can. Events of
// that queue wait, and no attempt is charged to them.
type QueueOutage struct {
	Queue string
	Err   error
}

func (o *QueueOutage) Error() string { return fmt.Sprintf("queue %.100q: %v", o.Queue, o.Err) }

func (o *QueueOutage) Unwrap() error { return o.Err }
