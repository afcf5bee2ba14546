package examine

import (
	"context"

	"outboxd/domain/diagnosis/thorough"

	"github.com/jackc/pgx/v5"
)

const whatFailsSQL = `SELECT work, error, extract(epoch FROM now() - since)::float8 FROM outbox_failing ORDER BY since, work`

func (e *Examiner) failing(ctx context.Context, tx pgx.Tx, facts *thorough.PostgresFacts) error {
	rows, err := tx.Query(ctx, whatFailsSQL)
	if err != nil {
		return err
	}
	var work, cause string
	var seconds float64
	_, err = pgx.ForEachRow(rows, []any{&work, &cause, &seconds}, func() error {
		facts.Failing = append(facts.Failing, thorough.FailingWork{Work: work, Error: legible(cause), Since: inSeconds(seconds)})
		return nil
	})
	return err
}
