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
// key. A deadline that has passed is dropped.
var correctSQL = `
INSERT INTO outbox (event_type, payload, headers, queue, max_retry, timeout_seconds, deadline, retention_seconds, unique_seconds, ordering_key)
SELECT event_type, $2, headers || jsonb_build_object($3::text, $1::uuid::text), queue, max_retry, timeout_seconds,
       CASE WHEN deadline > clock_timestamp() THEN deadline END, retention_seconds, unique_seconds, ordering_key
FROM (` + stored.Places.Union(`SELECT `+stored.Columns+` FROM {table} WHERE id = $1`) + `) AS places
WHERE subscription IS NULL ORDER BY generation DESC LIMIT 1
RETURNING id`

const correctedSQL = `
INSERT INTO outbox_journal (event_id, stage, entry, generation, detail) VALUES ($1, 'person', 'corrected', $2, $3)`

// whereSQL returns an event's generation and, if the event is a delivery, the ID of the
// event that it delivers.
var whereSQL = `
SELECT origin_id, generation FROM (` + stored.Places.Union(`SELECT origin_id, generation FROM {table} WHERE id = $1`) + `) AS places ORDER BY generation DESC LIMIT 1`

// Correct implements domain.Corrections.
func (l *Letters) Correct(ctx context.Context, action *domain.Action, id domain.ID, payload []byte, discard bool) (domain.ID, error) {
	var copied domain.ID
	if payload == nil {
		payload = []byte{}
	}
	if action.Filter == nil {
		action.Filter = map[string]string{}
	}
	err := stored.Act(ctx, l.db, "correct", action, func(tx pgx.Tx) (int64, error) {
		var origin *[16]byte
		var generation int
		switch err := tx.QueryRow(ctx, whereSQL, [16]byte(id)).Scan(&origin, &generation); {
		case errors.Is(err, pgx.ErrNoRows):
			return 0, domain.Errorf(domain.CodeNotFound, "event %s is not kept, so no copy of it can be emitted", id)
		case err != nil:
			return 0, err
		case origin != nil:
			return 0, domain.Errorf(domain.CodeInvalid, "event %s is a delivery: correct the event that it delivers, %s", id, domain.ID(*origin))
		}
		if err := tx.QueryRow(ctx, correctSQL, [16]byte(id), payload, domain.HeaderCorrects).Scan((*[16]byte)(&copied)); err != nil {
			return 0, err
		}
		action.Filter["emitted"] = copied.String()
		if _, err := tx.Exec(ctx, correctedSQL, [16]byte(id), generation, stored.ByWhom(l.db, action)+"; the corrected copy is event "+copied.String()); err != nil {
			return 0, err
		}
		if !discard {
			return 1, nil
		}
		gone, err := l.discardIn(ctx, tx, action, domain.DeadFilter{IDs: []domain.ID{id}}, 1)
		if err == nil && len(gone) == 0 {
			err = domain.Errorf(domain.CodeConflict, "event %s is not a dead letter, so it cannot be discarded", id)
		}
		return 1, err
	})
	if tooLarge := stored.PayloadTooLarge(err, payload); tooLarge != nil {
		return copied, tooLarge
	}
	if pg, refused := errors.AsType[*pgconn.PgError](err); refused && stored.IsOfRow(err) && !postgres.IsFleeting(err) {
		err = domain.Wrap(domain.CodeInvalid, err, "the outbox refuses the corrected copy: "+pg.Message)
	}
	return copied, postgres.Translate(err, "emit a corrected copy of event "+id.String())
}
