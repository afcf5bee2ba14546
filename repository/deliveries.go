package repository

import (
	"fmt"
	"strings"
	"time"

	"outboxd/domain"
	"outboxd/repository/stored"
)

// Fan-out. The first claim of an event writes the event's deliveries in its own
// transaction, one for each subscription that matches. A delivery is a row of the outbox
// like an event: the same statements claim it, order it, send it again and make it a dead
// letter.
//
// The statement that sets the timeouts of a claim also reads whether there are
// subscriptions. So the question whether there are subscriptions costs no round trip of
// its own. Without subscriptions, the relay uses the claim statement that makes no
// deliveries.

// splitSQL makes the deliveries. splitting inserts it into the claim statement, after the
// part "gone" and before the parts that read "gone".
//
//   - wanted compares each event type of the batch once with the subscriptions, whatever
//     the number of events.
//   - A delivery has the due time of its event, so that it does not wait behind the whole
//     backlog. If the subscription keeps the order, a delivery also has the position of
//     its event within the ordering key.
//   - If a producer writes an event again after its delivery was confirmed, the delivery
//     is not made again. Before that it may be made again, under the same ID. As with
//     events, the inbox lets such a repeat take effect once.
//   - A delivery has neither the timeout nor the deadline of its event: the worker of the
//     subscription bounds each attempt itself.
//   - If a subscription has instead_of_queue, the events that match it get no task in
//     their own queue: they move to the history at once, if there is one. The later parts
//     of the claim statement do not see these events.
//   - again has the events without a task for which fewer deliveries were made than
//     subscriptions match. A producer wrote such an event again, and the missing deliveries
//     are confirmed or pending from before, so they are not made again. For each of these
//     events the claim writes a row into outbox_awaited whose delivery_id is the event's
//     own ID. The row asks the leader to call outbox_await. The claim does not call
//     outbox_await itself, because it must not wait for a transaction that ends one of
//     these deliveries. For the same reason the claim writes such a row if the event
//     already awaits a delivery that is now made again.
var splitSQL = `, wanted AS MATERIALIZED (
    SELECT t.event_type, s.id AS subscription_id, s.name, s.headers AS wanted_headers, s.ordering, s.instead_of_queue, s.attempts AS most_attempts
    FROM (SELECT DISTINCT event_type FROM gone WHERE split IS NULL AND subscription IS NULL) AS t
    JOIN outbox_subscriptions s ON s.removed_at IS NULL AND t.event_type COLLATE "C" LIKE ANY (s.patterns)
), instead AS MATERIALIZED (
    SELECT id FROM gone JOIN wanted USING (event_type)
    WHERE instead_of_queue AND ` + matchesSQL + `
    UNION
    SELECT id FROM gone WHERE split = 'instead'
), made AS (
    INSERT INTO outbox (` + stored.Columns + `)
    SELECT ` + stored.ColumnsWith(stored.DeliveryColumns("gone")) + `
    FROM gone JOIN wanted USING (event_type), LATERAL (SELECT outbox_delivery_id(gone.id, subscription_id) AS delivery_id) AS named
    WHERE ` + matchesSQL + ` AND NOT EXISTS (SELECT FROM inbox i WHERE i.event_id = delivery_id)
    ON CONFLICT (id) DO NOTHING
    RETURNING id, event_type, created_at, available_at, origin_id
), entered AS (
    INSERT INTO outbox_entries (event_type, created_at, deliveries)
    SELECT event_type, date_trunc('day', created_at, 'UTC'), count(*) FROM made GROUP BY 1, 2
), carried AS MATERIALIZED (
    SELECT ` + stored.ColumnsWith(map[string]string{"split": "'instead' AS split"}) + ` FROM gone WHERE id IN (SELECT id FROM instead)
), again AS MATERIALIZED (
    SELECT id FROM (
        SELECT gone.id, count(*) AS wanted_deliveries FROM gone JOIN wanted USING (event_type) WHERE %[1]t AND ` + matchesSQL + ` AND gone.id IN (SELECT id FROM instead) GROUP BY 1
    ) AS w LEFT JOIN (SELECT origin_id AS id, count(*) AS made_deliveries FROM made GROUP BY 1) AS m USING (id)
    WHERE wanted_deliveries > coalesce(made_deliveries, 0)
), awaited AS (
    INSERT INTO outbox_awaited (delivery_id, event_id)
    SELECT CASE WHEN (SELECT true FROM outbox_awaited a WHERE a.delivery_id = made.id) THEN origin_id ELSE id END, origin_id
    FROM made WHERE %[1]t AND origin_id IN (SELECT id FROM instead)
    UNION ALL SELECT id, id FROM again
    ON CONFLICT (delivery_id) DO NOTHING
), recorded AS (
    %[2]s
), queued AS NOT MATERIALIZED (
    SELECT * FROM gone WHERE id NOT IN (SELECT id FROM instead)
)`

// matchesSQL is true if an event may still get deliveries, is no delivery itself, and has
// the headers that the subscription wants. The types are compared before.
const matchesSQL = `gone.split IS NULL AND gone.subscription IS NULL AND (wanted_headers = '{}' OR gone.headers @> wanted_headers)`

// If the claim did something for subscriptions, its result has one additional row, without
// an event, that reports it. first is the due time of the first delivery.
// instead_due and instead_id are the due time and the ID of the last event that has only
// deliveries.
const splitRowSQL = `,
       now(), (SELECT count(*) FROM due),
       jsonb_build_object('made', (SELECT count(*) FROM made), 'first', (SELECT encode(timestamptz_send(min(available_at)), 'hex') FROM made),
                          'instead', count(*), 'instead_keys', coalesce(jsonb_agg(DISTINCT ordering_key) FILTER (WHERE ordering_key IS NOT NULL), '[]'),
                          'instead_due', encode(timestamptz_send(max(available_at)), 'hex'),
                          'instead_id', (array_agg(id ORDER BY available_at DESC, id DESC))[1])
FROM carried HAVING count(*) > 0 OR EXISTS (SELECT FROM made)`

const (
	recordInSentSQL = `INSERT INTO outbox_sent (%[1]s) SELECT %[1]s FROM carried`
	// Without a history no table has these events, so the account counts them as unrecorded.
	recordNowhereSQL = `INSERT INTO outbox_entries (event_type, created_at, unrecorded) SELECT event_type, date_trunc('day', created_at, 'UTC'), count(*) FROM carried GROUP BY 1, 2`
)

// splitting returns a claim statement that also makes deliveries.
func splitting(claim string, history bool) string {
	record := recordNowhereSQL
	if history {
		record = fmt.Sprintf(recordInSentSQL, stored.Columns)
	}
	// The limit, %d, is filled in later.
	split := strings.NewReplacer("%[1]t", fmt.Sprint(history), "%[2]s", record).Replace(splitSQL)
	before, after, _ := strings.Cut(claim, ", holding AS MATERIALIZED (")
	after = strings.NewReplacer("FROM gone", "FROM queued", "gone.", "queued.").Replace(after)
	return before + split + ", holding AS MATERIALIZED (" + after + "\nUNION ALL SELECT " + stored.NoEvent + splitRowSQL
}

// split has what a claim reports about the deliveries that it made, and about the events
// that have only deliveries.
type split struct {
	Made        int       `json:"made"`    // deliveries
	First       sentTime  `json:"first"`   // due time of the first of them
	Instead     int       `json:"instead"` // events that have only deliveries
	InsteadKeys []string  `json:"instead_keys"`
	InsteadDue  sentTime  `json:"instead_due"` // with InsteadID: the place of the last of those
	InsteadID   domain.ID `json:"instead_id"`
}

func (s *split) lastInstead() domain.Cursor {
	return domain.Cursor{Due: time.Time(s.InsteadDue), ID: s.InsteadID}
}

// Deliveries implements domain.Batch.
func (b *batch) Deliveries() (int, domain.Cursor) {
	return b.held.Made, domain.Cursor{Due: time.Time(b.held.First)}
}

// claimSQL returns the claim statement for this batch: with or without deliveries.
func (b *batch) claimSQL() string {
	if b.subscribed {
		return b.outbox.splitClaim
	}
	return b.outbox.claim
}
