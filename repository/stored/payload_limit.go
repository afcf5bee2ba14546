package stored

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"outboxd/domain"
	"outboxd/domain/words"
)

// PayloadTooLarge returns an error with domain.CodeTooLarge that names the limit, if err says that
// a payload is larger than the outbox takes. For any other error it returns nil. PayloadTooLarge
// reads the limit from the name of the CHECK constraint, because PostgreSQL runs no more
// queries in a failed transaction.
func PayloadTooLarge(err error, payload []byte) error {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return nil
	}
	size, found := strings.CutPrefix(pg.ConstraintName, "outbox_payload_has_at_most_")
	if !found {
		return nil
	}
	limit := strings.NewReplacer("_mib", " MiB", "_kib", " KiB", "_bytes", " bytes").Replace(size)
	return domain.Wrap(domain.CodeTooLarge, err, fmt.Sprintf("the event's payload has %s, and the outbox takes at most %s", words.Many(len(payload), "byte"), limit))
}
