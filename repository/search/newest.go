package search

import (
	"context"
	"fmt"

	"outboxd/domain/overview"
	"outboxd/repository/stored"
)

// newestSQL counts, each up to $2, the events that were emitted since the sample of the time $1, and the confirmations
// that were too late for that sample.
var newestSQL = fmt.Sprintf(`
SELECT least(greatest(coalesce((SELECT sum(emitted) FROM outbox_account), 0)
           + (SELECT count(*) FILTER (WHERE %s) FROM (SELECT unrecorded, repeated, deliveries FROM outbox_entries LIMIT $2) AS few) - newest.emitted_total, 0), $2)::bigint,
       (SELECT count(*) FROM (
           SELECT FROM inbox i WHERE i.processed_at > $1::timestamptz - interval '%g seconds' AND NOT EXISTS (SELECT FROM outbox_cancelled c WHERE c.id = i.event_id) LIMIT $2
       ) AS few), now()
FROM outbox_samples AS newest WHERE newest.at = $1`, stored.EmittedSQL, overview.ConfirmedLate.Seconds())

// The method newest replaces a figure of the last day that is still 0 by what has happened since the newest sample.
// Otherwise the first event would be in the lists, and not in the figures, for up to twenty seconds.
func (o *Overviews) newest(ctx context.Context, s *overview.Standing) error {
	s.EmittedUntil, s.ConfirmedUntil = s.SampledAt, s.SampledAt.Add(-overview.ConfirmedLate)
	if s.SampledAt.IsZero() || s.Day.Emitted > 0 && s.Day.Confirmed > 0 {
		return nil
	}
	var emitted, confirmed int64
	now := s.At
	if err := o.db.Pool().QueryRow(ctx, newestSQL, s.SampledAt, CountLimit).Scan(&emitted, &confirmed, &now); err != nil {
		return err
	}
	if s.Day.Emitted == 0 {
		s.Day.Emitted, s.EmittedUntil = emitted, now
	}
	if s.Day.Confirmed == 0 {
		s.Day.Confirmed, s.ConfirmedUntil = confirmed, now
	}
	return nil
}
