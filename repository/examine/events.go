package examine

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/repository/stored"
	"outboxd/repository/upkeep"
)

// manyStray bounds how many rows of the default partition are counted.
const manyStray = 10_000

func (e *Examiner) partitions(ctx context.Context, tx pgx.Tx) (found []domain.Finding, err error) {
	rows, err := tx.Query(ctx, upkeep.PartitionsSQL)
	if err != nil {
		return nil, err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	var now time.Time
	var stray int
	err = tx.QueryRow(ctx, `SELECT now(), (SELECT count(*) FROM (SELECT FROM outbox_sent_default LIMIT $1) AS few)`, manyStray+1).Scan(&now, &stray)
	if err != nil {
		return nil, err
	}
	days, today, ahead := upkeep.PartitionDays(names), now.UTC().Truncate(24*time.Hour), 0
	for days[today.AddDate(0, 0, ahead)] {
		ahead++
	}
	// They are made seven days ahead, so with one left nobody has made any for six.
	switch ahead {
	case 0:
		found = append(found, domain.Finding{
			Code: "partition-missing", Level: domain.FindingWarning,
			Found:       "outbox_sent has no partition for today",
			Consequence: "what is sent goes into the default partition, from which it is deleted row by row instead of being dropped by the day",
			Remedy:      "start a relay whose role owns outbox_sent and may CREATE in its schema; the one that keeps house makes partitions at once and then every ten minutes",
		})
	case 1:
		found = append(found, domain.Finding{
			Code: "partitions-behind", Level: domain.FindingWarning,
			Found:       "outbox_sent has no partition for tomorrow, and they are made a week ahead",
			Consequence: "no relay has kept house for days, or it may not make partitions: from tomorrow on the default partition fills",
			Remedy:      "look for \"could not keep all of the house\" in the relays' logs, and let a relay's role own outbox_sent",
		})
	}
	if stray > 0 {
		many := fmt.Sprint(stray)
		if stray > manyStray {
			many = fmt.Sprintf("more than %d", manyStray)
		}
		found = append(found, domain.Finding{
			Code: "partition-default", Level: domain.FindingNote,
			Found:       many + " rows of the history are in the default partition",
			Consequence: "they are deleted one by one when they are old enough, and a day of which more than 10000 rows are there gets no partition any more",
			Remedy:      "nothing, if partitions exist again: the relay that keeps house trims the default partition",
		})
	}
	return found, nil
}

// A relay shows itself several times a minute. The oldest due event is found by
// the index that claims use.
var relaysSQL = `
SELECT (SELECT count(*) FROM outbox_relays WHERE seen_at > now() - interval '1 minute'),
       coalesce(extract(epoch FROM now() - (SELECT ` + stored.Within("available_at") + ` FROM outbox WHERE available_at <= now() ORDER BY available_at, id LIMIT 1)), 0)::float8`

// overdue is how late an event may be before that is a finding.
const overdue = time.Minute

func (e *Examiner) relays(ctx context.Context, tx pgx.Tx) (found []domain.Finding, err error) {
	var alive int
	var seconds float64
	if err := tx.QueryRow(ctx, relaysSQL).Scan(&alive, &seconds); err != nil {
		return nil, err
	}
	late := time.Duration(seconds * float64(time.Second))
	if alive == 0 {
		found = append(found, domain.Finding{
			Code: "no-relay", Level: domain.FindingWarning,
			Found:       "no relay has given a sign of life for a minute",
			Consequence: "events are kept, and wait until one runs",
			Remedy:      "outboxd --roles=relay",
		})
	}
	if late > overdue {
		found = append(found, domain.Finding{
			Code: "events-late", Level: domain.FindingWarning,
			Found:       "the oldest due event has been due for " + span(late),
			Consequence: "what it should do has not been done",
			Remedy:      "if /readyz of the relays is well and outboxd_relay_queue_full is 0, they cannot keep up: raise --relay-concurrency",
		})
	}
	return found, nil
}

const manyDead = 10_000

const deadLettersSQL = `
SELECT count(*), coalesce(extract(epoch FROM now() - min(died_at)), 0)::float8
FROM (SELECT died_at FROM outbox_dead ORDER BY died_at, id LIMIT $1) AS few`

func (e *Examiner) deadLetters(ctx context.Context, tx pgx.Tx) ([]domain.Finding, error) {
	var count int
	var seconds float64
	if err := tx.QueryRow(ctx, deadLettersSQL, manyDead+1).Scan(&count, &seconds); err != nil || count == 0 {
		return nil, err
	}
	many := fmt.Sprintf("there are %d dead letters", count)
	switch {
	case count == 1:
		many = "there is a dead letter"
	case count > manyDead:
		many = fmt.Sprintf("there are more than %d dead letters", manyDead)
	}
	return one(domain.Finding{
		Code: "dead-letters", Level: domain.FindingWarning,
		Found:       fmt.Sprintf("%s, the oldest of %s ago", many, span(time.Duration(seconds*float64(time.Second)))),
		Consequence: "what they should do was not done and will not be; one with an ordering key may hold up everything behind it",
		Remedy:      "outboxd dead list, then outboxd dead replay or outboxd dead discard",
	}), nil
}

// manyTurns bounds how many turns are looked at, as a limit on what one look
// costs.
const manyTurns = 50_000

// Only a turn that somebody waits behind is held. The turn of a dead letter is
// found by its primary key.
const keysHeldSQL = `
SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(taken_at)), 0)::float8,
       count(*) FILTER (WHERE EXISTS (SELECT FROM outbox_dead d WHERE d.id = held.event_id)),
       coalesce((array_agg(event_id::text ORDER BY taken_at))[1], '')
FROM (
    SELECT event_id, taken_at FROM (SELECT ordering_key, event_id, taken_at FROM outbox_turns LIMIT $2) AS t
    WHERE taken_at < clock_timestamp() - $1 * interval '1 second'
      AND EXISTS (SELECT FROM outbox_held h WHERE h.ordering_key = t.ordering_key)
) AS held`

func (e *Examiner) heldKeys(ctx context.Context, tx pgx.Tx) ([]domain.Finding, error) {
	var count, dead int
	var seconds float64
	var first string
	if err := tx.QueryRow(ctx, keysHeldSQL, e.o.KeyAge.Seconds(), manyTurns).Scan(&count, &seconds, &dead, &first); err != nil || count == 0 {
		return nil, err
	}
	return one(domain.Finding{
		Code: "keys-held", Level: domain.FindingWarning,
		Found: fmt.Sprintf("%d ordering keys hold events back, the longest for %s; %d of them wait for a dead letter",
			count, span(time.Duration(seconds*float64(time.Second))), dead),
		Consequence: "nothing of these keys happens until the event that has the turn is confirmed, replayed or discarded",
		Remedy:      "outboxd keys list says why, and outboxd events show " + first + " of the one that has waited longest; if it is dead, outboxd dead replay or discard it",
	}), nil
}
