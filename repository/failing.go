package repository

import (
	"context"
	"fmt"
	"strings"
	"time"

	"outboxd/repository/postgres"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
)

const (
	failingSQL = `INSERT INTO outbox_failing (work, error) VALUES ($1, $2) ON CONFLICT (work) DO UPDATE SET error = excluded.error`
	worksSQL   = `DELETE FROM outbox_failing WHERE work = $1 OR $1 = ''`
)

// Failing implements domain.Housekeeping.
func (h *Housekeeping) Failing(ctx context.Context, work string, cause error) (err error) {
	switch {
	case cause == nil:
		_, err = h.db.Pool().Exec(ctx, worksSQL, work)
	case postgres.SQLState(cause) != "" && postgres.SQLState(cause) != "55P03": // a lock that was not given up in time is for the next round
		_, err = h.db.Pool().Exec(ctx, failingSQL, work, h.db.ErrorText(cause))
	}
	return postgres.Translate(err, "record what fails")
}

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
