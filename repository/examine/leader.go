package examine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/repository/upkeep"
)

// A leader keeps a sample of what it measures every ten seconds. Measuring may
// fail for a while without being a reason to worry.
const houseUnkept = 3 * time.Minute

// Who holds the leader's lock ($1 and $2 are its halves), since when it has said
// nothing, and how old the last sample is while a relay has been there for
// longer. PostgreSQL shows a session's times only to the same role and
// pg_monitor.
const leaderSQL = `
SELECT coalesce(pid, 0), coalesce(application_name, ''), coalesce(extract(epoch FROM clock_timestamp() - state_change), 0)::float8,
       coalesce(unkept, 0)::float8
FROM (SELECT extract(epoch FROM now() - greatest(max(s.at), (
          SELECT min(started_at) FROM outbox_relays WHERE seen_at > now() - interval '1 minute'))) AS unkept
      FROM (SELECT at FROM outbox_samples ORDER BY at DESC LIMIT 1) AS s
      HAVING EXISTS (SELECT FROM outbox_relays WHERE seen_at > now() - interval '1 minute')) AS house
FULL JOIN (
    SELECT l.pid, a.application_name, a.state_change FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.classid::bigint = $1 AND l.objid::bigint = $2
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
) AS leader ON true`

func (e *Examiner) leader(ctx context.Context, tx pgx.Tx) (found []domain.Finding, err error) {
	var schema string
	if err := tx.QueryRow(ctx, "SELECT current_schema()").Scan(&schema); err != nil {
		return nil, err
	}
	lock := uint64(upkeep.LeaderLock(schema)) //nolint:gosec // its bits
	var pid int
	var application string
	var silent, unkept float64
	err = tx.QueryRow(ctx, leaderSQL, int64(lock>>32), int64(lock&0xffffffff)).Scan(&pid, &application, &silent, &unkept)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, err
	}
	who := fmt.Sprintf("pid %d", pid)
	if application != "" {
		who += ", application " + legible(application)
	}
	switch {
	case pid != 0 && silent > cmp.Or(e.o.LeaderSilence, 2*upkeep.LeaderInterval).Seconds():
		return one(domain.Finding{
			Code: "leader-silent", Level: domain.FindingWarning,
			Found:       fmt.Sprintf("the relay that keeps house (%s) has said nothing for %s: it is suspended, or cut off by the network", who, span(fromSeconds(silent))),
			Consequence: "until another one leads nobody notices what Redis loses, nothing is trimmed, and held events may stay held",
			Remedy:      fmt.Sprintf("nothing, if it is over in a minute: PostgreSQL ends its session and another relay takes over; otherwise SELECT pg_terminate_backend(%d)", pid),
		}), nil
	case unkept > houseUnkept.Seconds():
		return one(domain.Finding{
			Code: "house-unkept", Level: domain.FindingWarning,
			Found:       "relays run, and none has kept house for " + span(fromSeconds(unkept)),
			Consequence: "nobody notices what Redis loses, nothing is trimmed, and held events may stay held",
			Remedy:      "look for \"cannot keep house\" and \"could not measure\" in the relays' logs; restart the relay that said last that it keeps house",
		}), nil
	}
	return nil, nil
}

func fromSeconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
