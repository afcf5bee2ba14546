package search

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/repository/postgres"
)

// An event may have several rows. Search finds only one of them, so countSQL counts distinct
// IDs.
var countSQL = matchingSQL + `
SELECT (SELECT id FROM floor), (SELECT count(*) FROM (SELECT DISTINCT id FROM matching LIMIT $11) AS few)`

// Count implements lives.Reader. Count reads the tables as Search does, step by step. A step
// that takes too long ends the count.
func (l *Lives) Count(ctx context.Context, filter lives.Filter, limit int, patience time.Duration) (counted lives.Counted, err error) {
	first, last := searchRange(filter, domain.ID{})
	began := time.Now()
	err = l.inSteps(ctx, func(tx pgx.Tx) error {
		for step := firstStep; ; {
			begun, left := time.Now(), limit-int(counted.Events)
			var floor *domain.ID
			var found int64
			if err := tx.QueryRow(ctx, countSQL, stepArgs(filter, first, last, step, left)...).Scan(&floor, &found); err != nil {
				return err
			}
			counted.Events += found
			counted.All = floor == nil || int(counted.Events) == limit
			if counted.All {
				return nil
			}
			if step = nextStep(step, time.Since(begun), patience-time.Since(began)); step == 0 {
				return nil
			}
			last = floor.Before()
		}
	})
	if postgres.SQLState(err) == postgres.Cancelled && ctx.Err() == nil {
		return counted, nil
	}
	return counted, postgres.Translate(err, "count events")
}
