package relay_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/domain/audit"
	"outboxd/domain/lives"
	"outboxd/repository/deadletters"
	"outboxd/repository/search"
)

// The method end waits until every due event has ended, and checks all of them.
func (o *oddRows) end() {
	o.t.Helper()
	// From here on no heal puts events back, so every event can end.
	// An event that had to wait for a lock may have been passed over, for a minute.
	deadline, look := time.Now().Add(servertest.Patience), time.NewTicker(20*time.Millisecond)
	defer look.Stop()
	for left := o.left(); len(left) > 0; left = o.left() {
		if time.Now().After(deadline) {
			o.t.Fatalf("%d events neither end nor wait for their time:\n%s", len(left), strings.Join(left[:min(len(left), 20)], "\n"))
		}
		<-look.C
		o.round()
	}
	o.round()
	o.audit()
}

// The method left returns the events that have not ended and do not wait for anything, each with
// all that is known of it.
func (o *oddRows) left() (left []string) {
	o.t.Helper()
	rows, err := o.db.SQL().QueryContext(o.t.Context(), notWaitingSQL)
	if err != nil {
		o.t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var state string
		var e domain.Event
		if err := rows.Scan(&state, &e.ID, &e.Queue, &e.Generation); err != nil {
			o.t.Fatal(err)
		}
		if state != string(lives.StateInFlight) || !o.waits(&e) {
			left = append(left, state+" "+o.placesOf(&e))
		}
	}
	if err := rows.Err(); err != nil {
		o.t.Fatal(err)
	}
	return left
}

// notWaitingSQL selects the due pending events, the unconfirmed events in flight, and the held
// events that no other event of their key holds back. An event holds a later one of its key back if
// it is held itself, if it is not due yet, or if it has the key's turn and is in flight.
const notWaitingSQL = `
SELECT 'pending', id, queue, coalesce(generation, 0) FROM outbox WHERE available_at <= now()
UNION ALL SELECT 'held', id, queue, coalesce(generation, 0) FROM outbox_held h
	WHERE NOT EXISTS (SELECT FROM outbox o WHERE o.ordering_key = h.ordering_key AND o.ordering_position <= h.ordering_position AND NOT coalesce(o.available_at <= now(), false))
	  AND NOT EXISTS (SELECT FROM outbox_held b WHERE b.ordering_key = h.ordering_key AND b.ordering_position < h.ordering_position)
	  AND NOT EXISTS (SELECT FROM outbox_turns t WHERE t.ordering_key = h.ordering_key AND (
		EXISTS (SELECT FROM outbox o WHERE o.id = t.event_id AND NOT coalesce(o.available_at <= now(), false))
		OR EXISTS (SELECT FROM outbox_sent s WHERE s.id = t.event_id AND NOT EXISTS (SELECT FROM inbox i WHERE i.event_id = s.id))))
UNION ALL SELECT 'in flight', id, queue, coalesce(generation, 0) FROM outbox_sent s WHERE NOT EXISTS (SELECT FROM inbox i WHERE i.event_id = s.id)`

// The method waits reports whether the task of an event waits for the time of an attempt. Asynq
// looks once a second for tasks whose time has come.
func (o *oddRows) waits(e *domain.Event) bool {
	for _, state := range []string{"retry", "scheduled"} {
		at, err := o.redis.ZScore(o.t.Context(), "asynq:{"+e.Queue+"}:"+state, e.TaskID()).Result()
		if err == nil && time.Unix(int64(at), 0).After(time.Now().Add(-5*time.Second)) {
			return true
		}
	}
	return false
}

// placesOf tells where an event and what concerns it are.
func (o *oddRows) placesOf(e *domain.Event) string {
	o.t.Helper()
	var places string
	if err := o.db.SQL().QueryRowContext(o.t.Context(), placesSQL, e.ID).Scan(&places); err != nil {
		o.t.Fatal(err)
	}
	tasks := o.redis.Keys(o.t.Context(), "asynq:*:t:"+e.ID.String()+"*").Val()
	for _, key := range tasks {
		places += fmt.Sprintf("\n\ttask %q: %v", key, o.redis.HMGet(o.t.Context(), key, "state", "pending_since", "outboxd_take").Val())
	}
	return fmt.Sprintf("%s#%d in queue %q%s", e.ID, e.Generation, e.Queue, places)
}

const placesSQL = `
WITH keys AS (
	SELECT ordering_key FROM outbox WHERE id = $1 UNION SELECT ordering_key FROM outbox_held WHERE id = $1
	UNION SELECT ordering_key FROM outbox_sent WHERE id = $1 UNION SELECT ordering_key FROM outbox_dead WHERE id = $1 UNION SELECT ordering_key FROM outbox_turns WHERE event_id = $1
)
SELECT coalesce(string_agg(E'\n\t' || place, ''), '') FROM (
	(SELECT 'outbox ' || left((to_jsonb(o) - 'payload' - 'headers')::text, 600) FROM outbox o WHERE id = $1 OR ordering_key IN (SELECT * FROM keys) ORDER BY id = $1 DESC, ordering_position LIMIT 3)
	UNION ALL (SELECT 'held ' || left((to_jsonb(h) - 'payload' - 'headers')::text, 600) FROM outbox_held h WHERE id = $1 OR ordering_key IN (SELECT * FROM keys) ORDER BY id = $1 DESC, ordering_position LIMIT 3)
	UNION ALL SELECT 'turn ' || t::text FROM outbox_turns t WHERE event_id = $1 OR ordering_key IN (SELECT * FROM keys)
	UNION ALL SELECT 'sent ' || left((to_jsonb(s) - 'payload' - 'headers')::text, 600) FROM outbox_sent s
		WHERE id = $1 OR ordering_key IN (SELECT * FROM keys) AND NOT EXISTS (SELECT FROM inbox i WHERE i.event_id = s.id)
	UNION ALL SELECT 'dead ' || left((to_jsonb(d) - 'payload' - 'headers')::text, 900) FROM outbox_dead d WHERE id = $1
	UNION ALL SELECT 'suppressed ' || left((to_jsonb(d) - 'payload' - 'headers')::text, 600) FROM outbox_suppressed d WHERE id = $1
	UNION ALL SELECT 'inbox ' || i::text FROM inbox i WHERE event_id = $1 OR event_id IN (SELECT event_id FROM outbox_turns WHERE ordering_key IN (SELECT * FROM keys))
	UNION ALL (SELECT 'journal ' || left(j::text, 300) FROM outbox_journal j WHERE event_id = $1 ORDER BY at DESC LIMIT 20)
) AS list (place)`

// audit checks the account and looks for violations, as outboxd verify does, and checks that
// dead letters can be listed and shown.
func (o *oddRows) audit() {
	o.t.Helper()
	auditor := search.NewAuditor(o.db)
	lines, err := auditor.Account(o.t.Context())
	if err != nil {
		o.t.Fatal(err)
	}
	uncounted := 0
	for i := range lines {
		d := int(lines[i].Difference())
		if uncounted -= d; d > 0 || d < 0 && !o.uncounted {
			o.t.Errorf("the account has %+v", lines[i])
		}
	}
	if want := o.written - o.refused; o.uncounted && uncounted != want {
		o.t.Errorf("%d events are not in the account, want the %d that were written uncounted", uncounted, want)
	}
	violations, err := auditor.Violations(o.t.Context(), lines, 1000)
	if o.uncounted {
		// Nor does the account know how many events were written under one ID.
		violations = slices.DeleteFunc(violations, func(v audit.Violation) bool {
			return v.Broken == "in more than one place" && len(strings.Split(v.Detail, ", ")) <= o.ids[v.ID.String()]
		})
	}
	if err != nil || len(violations) > 0 {
		o.t.Errorf("violations %+v: %v", violations, err)
	}
	letters, err := deadletters.New(o.db).List(o.t.Context(), domain.DeadFilter{}, domain.Cursor{}, 1000)
	if err != nil {
		o.t.Errorf("list dead letters: %v", err)
	}
	for i := range letters {
		if _, err := search.NewLives(o.db).Find(o.t.Context(), letters[i].ID); err != nil {
			o.t.Errorf("show event %s: %v", letters[i].ID, err)
		}
	}
}

// places says how many events ended where.
func (o *oddRows) places() string {
	return fmt.Sprintf("%d confirmed, %d dead, %d held, %d not due, %d in flight", o.count("SELECT count(*) FROM inbox"), o.count("SELECT count(*) FROM outbox_dead"),
		o.count("SELECT count(*) FROM outbox_held"), o.count("SELECT count(*) FROM outbox"),
		o.count("SELECT count(*) FROM outbox_sent s WHERE NOT EXISTS (SELECT FROM inbox i WHERE i.event_id = s.id)"))
}
