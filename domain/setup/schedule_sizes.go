package setup

import "outboxd/domain"

// CheckSizes refuses a schedule whose payload is larger than the outbox accepts, because none of its ticks could be
// emitted. The limit is in bytes; 0 means no limit. Errors: domain.CodeInvalid.
func CheckSizes(list []Schedule, limit int) error {
	for i := range list {
		if size := len(list[i].Event.Payload); limit > 0 && size > limit {
			return domain.Errorf(domain.CodeInvalid, "schedule %q: its payload has %d bytes, and the outbox accepts at most %d (--relay-max-payload)", list[i].Name, size, limit)
		}
	}
	return nil
}
