package search_test

import (
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/domain/figures"
	"outboxd/repository"
	"outboxd/repository/postgres"
	"outboxd/repository/search"
	"outboxd/repository/upkeep"
)

// pair returns what a snapshot knows of a type in a queue.
func pair(t *testing.T, s figures.Snapshot, eventType, queue string) (found figures.Stored) {
	t.Helper()
	for _, p := range s.Pairs {
		if p.Type == eventType && p.Queue == queue {
			return p
		}
	}
	t.Errorf("%s in %s is not among %+v", eventType, queue, s.Pairs)
	return found
}

func snapshot(t *testing.T, db *postgres.Database) figures.Snapshot {
	t.Helper()
	s, err := search.NewFigures(db).Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sum returns what points have together, and the tasks that the last one of them found in Redis.
func sum(points []figures.Point) (all figures.Point) {
	for _, p := range points {
		all.Seconds += p.Seconds
		all.Confirmed += p.Confirmed
		all.Failed += p.Failed
		all.Died += p.Died
		all.Queued = p.Queued
	}
	return all
}

// The figures have, by type and queue, what happened in the last minutes and what waits.
func TestFiguresOfTypesAndQueues(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	store := repository.NewOutbox(db, repository.OutboxOptions{History: true, DeadHoldsKey: true})
	if s := snapshot(t, db); len(s.Pairs) != 0 || s.Measurement != (figures.Measurement{}) || s.Cut != (figures.Cut{}) || s.At.IsZero() {
		t.Errorf("of nothing: %+v", s)
	}
	exec(t, db, `INSERT INTO outbox (event_type, payload, queue) SELECT 'mail', 'x', q FROM unnest(ARRAY['a', 'a', 'a', 'b', 'b']) AS q`)
	relayAll(t, store)
	// Two events of queue a took effect, one of queue b failed, and another event died.
	exec(t, db, `INSERT INTO inbox SELECT id, now() - interval '20 seconds' FROM outbox_sent WHERE queue = 'a' ORDER BY id LIMIT 2`)
	exec(t, db, `INSERT INTO outbox_journal (event_id, at, stage, entry, generation) SELECT id, now() - interval '20 seconds', 'worker', 'failed', 0 FROM outbox_sent WHERE queue = 'b' ORDER BY id LIMIT 1`)
	// The other event of queue b was given up by a person and replayed since.
	exec(t, db, `INSERT INTO outbox_journal (event_id, at, stage, entry, generation) SELECT id, now() - interval '20 seconds', 'person', e, 0 FROM unnest(ARRAY['given up', 'died', 'replayed']) AS e,
		(SELECT id FROM outbox_sent WHERE queue = 'b' ORDER BY id DESC LIMIT 1) AS other`)
	exec(t, db, `INSERT INTO outbox (event_type, payload, queue) VALUES ('late', 'x', 'c')`)
	die(t, store, "it broke")
	exec(t, db, `UPDATE outbox_dead SET died_at = now() - interval '20 seconds'`)
	exec(t, db, `INSERT INTO outbox (event_type, payload, queue, available_at) VALUES ('mail', 'x', 'a', now() - interval '1 minute'), ('mail', 'x', 'a', now() + interval '1 hour')`)
	keeping := upkeep.NewHousekeeping(db, "")
	if err := keeping.MeasureTypes(t.Context(), map[string]int64{"a": 7, "": 1}); err != nil {
		t.Fatal(err)
	}

	s := snapshot(t, db)
	if s.RecentMeasured < 59*time.Second || s.HourMeasured < 59*time.Second || s.At.Sub(s.MeasuredUntil) > time.Minute || s.Emitted["mail"] != 7 || s.Cut != (figures.Cut{}) {
		t.Errorf("%+v", s)
	}
	if p := pair(t, s, "mail", "a"); p.Hour.Confirmed != 2 || p.Recent.Confirmed != 2 || p.Hour.P99 < 0 || p.Pending != 2 || p.OldestDue.IsZero() || time.Since(p.OldestDue) < 50*time.Second {
		t.Errorf("mails in queue a: %+v", p)
	}
	if p := pair(t, s, "mail", "b"); p.Hour.Confirmed != 0 || p.Hour.Failed != 1 || p.Hour.Died != 1 || p.Hour.P50 >= 0 {
		t.Errorf("mails in queue b: %+v", p)
	}
	if p := pair(t, s, "late", "c"); p.Dead != 1 || p.Hour.Died != 1 {
		t.Errorf("the dead one: %+v", p)
	}

	f := search.NewFigures(db)
	for name, want := range map[[2]string]figures.Point{
		{"mail", ""}:  {Passed: figures.Passed{Confirmed: 2, Failed: 1, Died: 1}, Queued: -1},
		{"", "a"}:     {Passed: figures.Passed{Confirmed: 2}, Queued: 7},
		{"", "c"}:     {Passed: figures.Passed{Died: 1}, Queued: -1},
		{"none", "z"}: {Queued: -1},
	} {
		points, err := f.History(t.Context(), name[0], name[1], time.Hour, time.Hour)
		// If an hour has just begun, the measured minute lies in two.
		if err != nil || len(points) < 1 || len(points) > 2 {
			t.Fatalf("%v: %+v, %v", name, points, err)
		}
		got := sum(points)
		if got.Seconds < 59 || got.Confirmed != want.Confirmed || got.Failed != want.Failed || got.Died != want.Died || got.Queued != want.Queued {
			t.Errorf("%v: %+v, want %+v", name, got, want)
		}
	}
	// The next measurement begins where the last one ended.
	if err := keeping.MeasureTypes(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if p := pair(t, snapshot(t, db), "mail", "a"); p.Hour.Confirmed != 2 {
		t.Errorf("%d confirmations were counted twice", p.Hour.Confirmed-2)
	}
}

// No fewer events died in the hour than dead letters that died in it wait, even if no measurement has them.
func TestNoMoreDeadLettersOfATypeWaitThanDied(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	if err := upkeep.NewHousekeeping(db, "").MeasureTypes(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	exec(t, db, `INSERT INTO outbox_dead (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, stage, error, died_at)
		SELECT outbox_new_id(), 'mail', '', '{}', 'a', now(), 1, 0, now(), 'worker', 'error', now() - n * interval '25 minutes' FROM generate_series(0, 3) n`)
	if p := pair(t, snapshot(t, db), "mail", "a"); p.Dead != 4 || p.Hour.Died != 3 {
		t.Errorf("%d are dead and %d died within the hour, want 4 and 3", p.Dead, p.Hour.Died)
	}
}

// The windows end with the last measurement, so the figures stay as they are until the next one. Figures older than a
// window are no figures of it.
func TestFiguresStayUntilTheNextMeasurement(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	exec(t, db, `INSERT INTO outbox_type_samples (at, event_type, queue, seconds, confirmed, failed, died)
		SELECT now() - n * interval '1 minute', kind, kind, 60, 6, 0, 0 FROM generate_series(4, 8) AS n, unnest(ARRAY['', 'mail']) AS kind`)
	s := snapshot(t, db)
	if p := pair(t, s, "mail", "mail"); p.Recent.Confirmed != 30 || p.Hour.Confirmed != 30 || s.RecentMeasured != 5*time.Minute || s.HourMeasured != 5*time.Minute {
		t.Errorf("measured up to four minutes ago: %+v, %+v", p, s.Measurement)
	}
	exec(t, db, `UPDATE outbox_type_samples SET at = at - interval '130 seconds'`)
	s = snapshot(t, db)
	if p := pair(t, s, "mail", "mail"); p.Recent.Confirmed != 0 || p.Hour.Confirmed != 30 || s.RecentMeasured != 0 {
		t.Errorf("measured up to six minutes ago: %+v, %+v", p, s.Measurement)
	}
}

// The figures count up to a limit, and say so.
func TestFiguresSayWhichOfThemAreCut(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	exec(t, db, `INSERT INTO outbox (event_type, payload) SELECT 'mail', '' FROM generate_series(1, $1::int)`, figures.Counted+1)
	if s := snapshot(t, db); s.Cut != (figures.Cut{Pending: true, Emitted: true}) || s.Cut.Complete() || s.Emitted["mail"] != figures.Counted {
		t.Errorf("%+v, emitted %v", s.Cut, s.Emitted)
	}
	if err := upkeep.NewHousekeeping(db, "").MeasureTypes(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for {
		if n, err := upkeep.NewHousekeeping(db, "").FoldAccount(t.Context()); err != nil {
			t.Fatal(err)
		} else if n == 0 {
			break
		}
	}
	exec(t, db, `DELETE FROM outbox WHERE id IN (SELECT id FROM outbox LIMIT 2)`)
	if s := snapshot(t, db); s.Cut.Emitted || s.Emitted["mail"] != figures.Counted+1 {
		t.Errorf("after the leader added them up: %+v, emitted %v", s.Cut, s.Emitted)
	}
}

// Whoever paused a queue last is named, as long as nobody resumed it.
func TestWhoPausedQueues(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	exec(t, db, `INSERT INTO outbox_actions (at, actor, action, filter, reason) VALUES
		(now() - interval '3 hours', 'ada', 'pause', '{"queue": "a"}', 'first'), (now() - interval '2 hours', 'ada', 'resume', '{"queue": "a"}', ''),
		(now() - interval '1 hour', 'bob', 'pause', '{"queue": "a"}', 'again'), (now(), 'bob', 'pause', '{"schedule": "a"}', 'another thing'),
		(now() - interval '1 hour', 'bob', 'pause', '{"queue": "b"}', ''), (now(), 'ada', 'resume', '{"queue": "b"}', '')`)
	by, err := search.NewFigures(db).Pauses(t.Context())
	if err != nil || len(by) != 1 || by["a"].By != "bob" || by["a"].Reason != "again" || by["a"].Since.IsZero() {
		t.Errorf("%+v, %v", by, err)
	}
}
