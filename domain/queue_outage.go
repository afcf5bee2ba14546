package domain

import (
	"errors"
	"fmt"
	"strings"
)

// QueueOutage says why one queue cannot be used while others can. Events of
// that queue wait, and no attempt is charged to them.
type QueueOutage struct {
	Queue string
	Err   error
}

func (o *QueueOutage) Error() string { return fmt.Sprintf("queue %.100q: %v", o.Queue, o.Err) }

func (o *QueueOutage) Unwrap() error { return o.Err }

// QueueOutages has one or more outages of single queues that one call found.
type QueueOutages []*QueueOutage

func (o QueueOutages) Error() string {
	texts := make([]string, len(o))
	for i, one := range o {
		texts[i] = one.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap returns all outages, so that errors.Is and errors.As find each.
func (o QueueOutages) Unwrap() []error {
	errs := make([]error, len(o))
	for i, one := range o {
		errs[i] = one
	}
	return errs
}

// UnusableQueues returns the queues to which err applies. UnusableQueues returns none if err applies to all queues.
func UnusableQueues(err error) []string {
	if several, ok := errors.AsType[QueueOutages](err); ok {
		names := make([]string, len(several))
		for i, one := range several {
			names[i] = one.Queue
		}
		return names
	}
	if one, ok := errors.AsType[*QueueOutage](err); ok {
		return []string{one.Queue}
	}
	return nil
}
