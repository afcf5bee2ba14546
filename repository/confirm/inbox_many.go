package confirm

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"

	"outboxd/domain"
	"outboxd/domain/crashpoint"
	"outboxd/repository/postgres"
)

// processedAllSQL does for several events what processedSQL does for one. It sets the
// timeouts once. The third column of the result, held, is true if some event waits for
// the turn of one of these events.
const processedAllSQL = `
SELECT event_id, answer, (SELECT EXISTS (SELECT FROM outbox_turns t JOIN outbox_held h USING (ordering_key) WHERE t.event_id = ANY ($2::uuid[]))), (SELECT concat(` + timeoutsSQL + `))
FROM confirm_many($2::uuid[])`

// ProcessAll implements domain.Inbox.
func (i *Inbox) ProcessAll(ctx context.Context, ids []domain.ID, effect func(context.Context, domain.Effects, []domain.ID) error) ([]domain.Confirmation, error) {
	const doing = "process events"
	for attempt := 1; ; attempt++ {
		begun := false
		verdicts, err := i.processAll(ctx, ids, func(ctx context.Context, tx domain.Effects, first []domain.ID) error {
			begun = true
			return effect(ctx, tx, first)
		})
		if err == nil {
			return verdicts, nil
		}
		if begun || !again(err, attempt) || ctx.Err() != nil {
			return nil, postgres.TranslateWork(err, doing)
		}
	}
}

func (i *Inbox) processAll(ctx context.Context, ids []domain.ID, effect func(context.Context, domain.Effects, []domain.ID) error) (verdicts []domain.Confirmation, err error) {
	held := false
	opening := &postgres.Opening{SQL: processedAllSQL, Args: []any{postgres.Milliseconds(patience(ctx)), postgres.UUIDs(ids)}, Read: func(rows pgx.Rows) (err error) {
		verdicts, held, err = readVerdicts(rows, ids)
		return err
	}}
	_, err = i.db.TransactOpened(ctx, opening, func(tx *gorm.DB) error {
		var first []domain.ID
		for n, v := range verdicts {
			if v.First {
				first = append(first, ids[n])
			}
		}
		if first == nil {
			return nil
		}
		crashpoint.Reach(crashpoint.WorkerBegan)
		err := effect(ctx, effects{tx, opening, held}, first)
		crashpoint.Reach(crashpoint.WorkerEffected)
		return err
	})
	crashpoint.Reach(crashpoint.WorkerCommitted)
	return verdicts, err
}

// readVerdicts returns the answers of confirm_many or outbox_ask in the order of the
// events. If an event has no answer, or an answer that readVerdicts does not expect,
// readVerdicts returns an error, and no event counts as confirmed.
func readVerdicts(rows pgx.Rows, ids []domain.ID) (_ []domain.Confirmation, held bool, err error) {
	answers := make(map[domain.ID]string, len(ids))
	var id domain.ID
	var answer string
	var none any
	for rows.Next() {
		if err := rows.Scan((*[16]byte)(&id), &answer, &held, &none); err != nil {
			return nil, false, fmt.Errorf("read what became of an event: %w", err)
		}
		answers[id] = answer
	}
	if err := rows.Err(); err != nil {
		return nil, false, err
	}
	verdicts := make([]domain.Confirmation, len(ids))
	for n, id := range ids {
		switch answer := answers[id]; answer {
		case "first":
			verdicts[n].First = true
		case "confirmed", "cancelled":
		case "early":
			verdicts[n].Err = domain.ErrTooEarly
		case "unknown":
			verdicts[n].Err = domain.ErrUnknownEvent
		default:
			return nil, false, fmt.Errorf("%q is no answer about event %s", answer, id)
		}
	}
	return verdicts, held, nil
}

// AskAll implements domain.Inbox. It takes one round trip and rolls back. AskAll asks
// again about each event that does not exist, because the journal must keep an entry
// about such an event.
func (i *Inbox) AskAll(ctx context.Context, ids []domain.ID) (verdicts []domain.Confirmation, err error) {
	const doing = "ask whether events took effect"
	for attempt := 1; ; attempt++ {
		if verdicts, err = i.askAll(ctx, ids); err == nil {
			break
		}
		if !again(err, attempt) || ctx.Err() != nil {
			return nil, postgres.TranslateWork(err, doing)
		}
	}
	for n, id := range ids {
		if errors.Is(verdicts[n].Err, domain.ErrUnknownEvent) {
			if verdicts[n], err = i.record(ctx, id); err != nil {
				return nil, err
			}
		}
	}
	return verdicts, nil
}

// errAsked makes a transaction roll back.
var errAsked = errors.New("it was only a question")

// record asks about an event that does not exist, and commits the entry about it in the
// journal. If the event exists by now, its task comes again.
func (i *Inbox) record(ctx context.Context, id domain.ID) (domain.Confirmation, error) {
	first, err := i.Process(ctx, id, func(context.Context, domain.Effects) error { return errAsked })
	switch {
	case errors.Is(err, errAsked):
		return domain.Confirmation{Err: domain.ErrTooEarly}, nil
	case err == nil, errors.Is(err, domain.ErrUnknownEvent), errors.Is(err, domain.ErrTooEarly):
		return domain.Confirmation{First: first, Err: err}, nil
	default:
		return domain.Confirmation{}, err
	}
}

const askAllSQL = `SELECT event_id, answer, false, NULL FROM outbox_ask($1::uuid[])`

func (i *Inbox) askAll(ctx context.Context, ids []domain.ID) (verdicts []domain.Confirmation, err error) {
	conn, err := i.db.Pool().Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("begin: %w", err)
	}
	defer conn.Release() // and the pool closes what is still in a transaction
	var steps pgx.Batch
	i.db.Pool().QueueBegin(&steps)
	begun := steps.Len()
	steps.Queue(askAllSQL, postgres.UUIDs(ids))
	steps.Queue("ROLLBACK")
	results := conn.SendBatch(ctx, &steps)
	defer func() {
		if closed := results.Close(); err == nil {
			err = closed
		}
	}()
	for range begun {
		if _, err := results.Exec(); err != nil {
			return nil, err
		}
	}
	rows, err := results.Query()
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	verdicts, _, err = readVerdicts(rows, ids)
	return verdicts, err
}
