package search_test

import (
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/repository"
	"outboxd/repository/search"
	"outboxd/repository/upkeep"
)

func TestOverviewOfNothing(t *testing.T) {
	t.Parallel()
	overviews := search.NewOverviews(schematest.Open(t))
	s, err := overviews.Standing(t.Context())
	if err != nil || s.Pending != 0 || s.Hour.Seconds != 0 || !s.SampledAt.IsZero() || len(s.Relays) != 0 || s.At.IsZero() {
		t.Errorf("%+v, %v", s, err)
	}
	if points, err := overviews.History(t.Context(), time.Hour, 10*time.Second); err != nil || len(points) != 0 {
		t.Errorf("%+v, %v", points, err)
	}
}

func TestOverviewCountsWhatWasMeasured(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	relay := domain.RelayProcess{ID: domain.ID{1}, Host: "here", PID: 7, Version: "1.2.3"}
	if err := repository.NewPresence(db, "").Show(t.Context(), relay, true); err != nil {
		t.Fatal(err)
	}
	keeping, overviews := upkeep.NewHousekeeping(db, ""), search.NewOverviews(db)
	measure := func() {
		t.Helper()
		if _, _, err := keeping.Measure(t.Context(), relay, nil); err != nil {
			t.Fatal(err)
		}
	}
	exec(t, db, `INSERT INTO outbox (event_type, payload) VALUES ('before:all', '')`)
	measure() // the first one only begins to count
	exec(t, db, `UPDATE outbox_samples SET at = at - interval '10 seconds'`)
	exec(t, db, `INSERT INTO outbox (event_type, payload) SELECT 'a:b', '' FROM generate_series(1, 20)`)
	exec(t, db, `INSERT INTO inbox (event_id, processed_at) SELECT outbox_new_id(), now() - interval '10 seconds' FROM generate_series(1, 5)`)
	exec(t, db, `INSERT INTO outbox_dead (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, stage, error)
		SELECT outbox_new_id(), 'a:b', '', '{}', 'default', now(), 1, 0, now(), 'relay', 'why' FROM generate_series(1, 2)`)
	exec(t, db, `INSERT INTO outbox_samples SELECT at - interval '25 hours', relay, seconds, 1000, 0, 0, 0, 0, 0, 0, 0, delay_p50, delay_p99, 0, 0 FROM outbox_samples`)
	if _, err := keeping.FoldAccount(t.Context()); err != nil {
		t.Fatal(err)
	}
	exec(t, db, `INSERT INTO outbox_held (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, ordering_key, ordering_position, held_at)
		SELECT outbox_new_id(), 'a:b', '', '{}', 'default', now(), 0, 0, now(), 'k', 1000 + n, now() FROM generate_series(1, 3) AS n`)
	measure()

	s, err := overviews.Standing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.Pending != 21 || s.Estimated || s.Dead != 2 || s.Held != 3 || s.HeldKeys != 1 || s.OldestHeld.IsZero() || s.OldestDue.IsZero() || s.SampledAt.IsZero() {
		t.Errorf("%+v", s)
	}
	for name, f := range map[string]domain.Flow{"now": s.Now, "hour": s.Hour, "day": s.Day} {
		if f.Emitted != 20 || f.Confirmed != 5 || f.Died != 2 || f.Seconds < 9.9 || f.Seconds > 59 {
			t.Errorf("%s: %+v", name, f)
		}
	}
	if len(s.Relays) != 1 || s.Relays[0].RelayProcess != relay || !s.Relays[0].Asleep || !s.Relays[0].Leads || s.Relays[0].SeenAt.IsZero() {
		t.Errorf("%+v", s.Relays)
	}
	points, err := overviews.History(t.Context(), time.Hour, time.Hour)
	if err != nil || len(points) == 0 || len(points) > 2 {
		t.Fatalf("%+v, %v", points, err)
	}
	last := points[len(points)-1]
	if last.Emitted != 20 || last.Pending != 21 || last.Dead != 2 || last.DelayP99 < 0 || last.OldestDue <= 0 {
		t.Errorf("%+v", last)
	}
	if n := count(t, db, `SELECT count(*) FROM outbox_samples WHERE emitted = 1000`); n != 0 {
		t.Errorf("%d samples older than 25 hours", n)
	}
}
