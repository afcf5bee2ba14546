package examine

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
)

const whatFailsSQL = `SELECT work, error, extract(epoch FROM now() - since)::float8 FROM outbox_failing ORDER BY since, work`

func (e *Examiner) failing(ctx context.Context, tx pgx.Tx) ([]domain.Finding, error) {
	rows, err := tx.Query(ctx, whatFailsSQL)
	if err != nil {
		return nil, err
	}
	var list []string
	var work, cause string
	var seconds float64
	_, err = pgx.ForEachRow(rows, []any{&work, &cause, &seconds}, func() error {
		list = append(list, fmt.Sprintf("cannot %s, for %s: %s", work, span(time.Duration(seconds*float64(time.Second))), legible(cause)))
		return nil
	})
	if err != nil || list == nil {
		return nil, err
	}
	return one(domain.Finding{
		Code: "house-failing", Level: domain.FindingWarning,
		Found:       "the relay that keeps house " + strings.Join(list, "; it "),
		Consequence: "what Redis lost is not sent again, or tables grow and held events may stay held, until it works",
		Remedy:      "mend what the error names; nothing is lost meanwhile, and it is tried again by itself",
	}), nil
}
