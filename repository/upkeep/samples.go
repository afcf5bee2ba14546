package upkeep

import (
	"context"

	"outboxd/repository/postgres"
)

// thinSQL joins the samples of each five minutes to one sample, once they are older than
// 25 hours. So a week of samples is about 11,000 rows. thinSQL reads all samples older
// than 25 hours, and skips those that cover a minute or more, because it has joined them
// before.
const thinSQL = `
WITH joined AS (
    DELETE FROM outbox_samples
    WHERE at < to_timestamp(floor(extract(epoch FROM now() - interval '25 hours') / 300) * 300) AND seconds < 60
    RETURNING *
)
INSERT INTO outbox_samples (at, relay, seconds, emitted, enqueued, confirmed, died, pending, held, dead, oldest_due,
    delay_p50, delay_p99, emitted_total, enqueued_total, queued)
SELECT max(at), (array_agg(relay ORDER BY at DESC))[1], sum(seconds), sum(emitted), sum(enqueued), sum(confirmed), sum(died),
    max(pending), max(held), max(dead), max(oldest_due), avg(delay_p50), max(delay_p99), max(emitted_total), max(enqueued_total), max(queued)
FROM joined GROUP BY floor(extract(epoch FROM at) / 300)`

// ThinSamples implements domain.Housekeeping.
func (h *Housekeeping) ThinSamples(ctx context.Context) error {
	_, err := h.db.Pool().Exec(ctx, thinSQL)
	return postgres.Translate(err, "thin the samples")
}
