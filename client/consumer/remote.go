package consumer

import "errors"

// ErrUnacknowledged is the error for an event that took effect in another
// database than the outbox's, and whose acknowledgement Redis did not take. Its task comes
// again, has no effect then, and acknowledges.
var ErrUnacknowledged = errors.New("the effect is committed, and its acknowledgement is not on its way")
