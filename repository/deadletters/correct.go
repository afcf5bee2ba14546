package deadletters

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"outboxd/domain"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// correctSQL emits a copy of an event with another payload, due now. The copy has a
// header that names the event. The copy comes after all events that wait for its ordering
// key. A deadline that has passed is dropped. If another transaction is emitting the same copy,
// correctSQL waits for its end.
var correctSQL = `
INSERT INTO outbox (id, event_type, payload, headers, queue, max_retry, timeout_seconds, deadline, retention_seconds, unique_seconds, ordering_key)
SELECT coalesce($4::uuid, outbox_new_id()), event_type, $2, headers || jsonb_build_object($3::text, $1::uuid::text), queue, max_retry, timeout_seconds,
       CASE WHEN deadline > clock_timestamp() THEN deadline END, retention_seconds, unique_seconds, ordering_key
FROM (` + stored.Places.Union(`SELECT `+stored.Columns+` FROM {table} WHERE id = $1`) + `) AS places
WHERE subscription IS NULL ORDER BY generation DESC LIMIT 1
ON CONFLICT (id) DO NOTHING RETURNING id`

const correctedSQL = `
INSERT INTO outbox_journal (event_id, stage, entry, generation, detail) VALUES ($1, 'person', 'corrected', $2, $3)`

// emittedSQL says whether the journal of an event names a copy. See correctedSQL for the detail.
const emittedSQL = `
SELECT EXISTS (SELECT FROM outbox_journal WHERE event_id = $1 AND entry = 'corrected' AND right(detail, 36) = $2)`

// errEmitted rolls the transaction of a copy back that another transaction has emitted.
var errEmitted = errors.New("the copy was emitted before")

// whereSQL returns an event's generation and, if the event is a delivery, the ID of the
// event that it delivers.
var whereSQL = `
SELECT origin_id, generation FROM (` + stored.Places.Union(`SELECT origin_id, generation FROM {table} WHERE id = $1`) + `) AS places ORDER BY generation DESC LIMIT 1`

// Correct implements domain.Corrections.
func (l *Letters) Correct(ctx context.Context, action *domain.Action, c domain.Correction) (copied domain.ID, err error) {
	if c.Payload == nil {
		c.Payload = []byte{}
	}
	if action.Filter == nil {
		action.Filter = map[string]string{}
	}
	err = stored.Act(ctx, l.db, "correct", action, func(tx pgx.Tx) (int64, error) {
		if copied, err = l.emitCopy(ctx, tx, action, c); err != nil || !c.Discard {
			return 1, err
		}
		gone, err := l.discardIn(ctx, tx, action, domain.DeadFilter{IDs: []domain.ID{c.Of}}, 1)
		if err == nil && len(gone) == 0 {
			err = domain.Errorf(domain.CodeConflict, "event %s is not a dead letter, so it cannot be discarded", c.Of)
		}
		return 1, err
	})
	if errors.Is(err, errEmitted) {
		return c.As, nil
	}
	if tooLarge := stored.PayloadTooLarge(err, c.Payload); tooLarge != nil {
		return copied, tooLarge
	}
	if pg, refused := errors.AsType[*pgconn.PgError](err); refused && stored.IsOfRow(err) && !postgres.IsFleeting(err) {
		err = domain.Wrap(domain.CodeInvalid, err, "the outbox refuses the corrected copy: "+pg.Message)
	}
	return copied, postgres.Translate(err, "emit a corrected copy of event "+c.Of.String())
}

// emitCopy emits the copy, and enters it into the journal. Its error is errEmitted if the copy was emitted before.
func (l *Letters) emitCopy(ctx context.Context, tx pgx.Tx, action *domain.Action, c domain.Correction) (copied domain.ID, err error) {
	if err := unlessEmitted(ctx, tx, c); err != nil {
		return copied, err
	}
	var origin *[16]byte
	var generation int
	switch err := tx.QueryRow(ctx, whereSQL, [16]byte(c.Of)).Scan(&origin, &generation); {
	case errors.Is(err, pgx.ErrNoRows):
		return copied, domain.Errorf(domain.CodeNotFound, "event %s is not kept, so no copy of it can be emitted", c.Of)
	case err != nil:
		return copied, err
	case origin != nil:
		return copied, domain.Errorf(domain.CodeInvalid, "event %s is a delivery: correct the event that it delivers, %s", c.Of, domain.ID(*origin))
	}
	var as *[16]byte
	if !c.As.IsZero() {
		as = (*[16]byte)(&c.As)
	}
	taken := tx.QueryRow(ctx, correctSQL, [16]byte(c.Of), c.Payload, domain.HeaderCorrects, as).Scan((*[16]byte)(&copied))
	if taken != nil && !errors.Is(taken, pgx.ErrNoRows) {
		return copied, taken
	}
	// Another transaction may have emitted the copy since the first look, and a relay may have handed it over.
	if err := unlessEmitted(ctx, tx, c); err != nil {
		return copied, err
	}
	if taken != nil {
		return copied, domain.Errorf(domain.CodeConflict, "another event has the ID %s", c.As)
	}
	action.Filter["emitted"] = copied.String()
	_, err = tx.Exec(ctx, correctedSQL, [16]byte(c.Of), generation, stored.ByWhom(l.db, action)+"; the corrected copy is event "+copied.String())
	return copied, err
}

// unlessEmitted returns errEmitted if the copy was emitted before.
func unlessEmitted(ctx context.Context, tx pgx.Tx, c domain.Correction) error {
	if c.As.IsZero() {
		return nil
	}
	var emitted bool
	if err := tx.QueryRow(ctx, emittedSQL, [16]byte(c.Of), c.As.String()).Scan(&emitted); err != nil || !emitted {
		return err
	}
	return errEmitted
}
