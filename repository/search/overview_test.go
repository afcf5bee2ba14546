package search_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/domain/overview"
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
	exec(t, db, `INSERT INTO outbox_samples SELECT at - interval '169 hours', relay, seconds, 1000, 0, 0, 0, 0, 0, 0, 0, delay_p50, delay_p99, 0, 0 FROM outbox_samples`)
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
	for name, f := range map[string]overview.Flow{"now": s.Now, "hour": s.Hour, "day": s.Day} {
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
		t.Errorf("%d samples older than a week", n)
	}
}

// An event is emitted and confirmed after a sample that has none.
func TestTheFirstEventCountsAtOnce(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	keeping, overviews := upkeep.NewHousekeeping(db, ""), search.NewOverviews(db)
	measure := func() {
		t.Helper()
		if _, _, err := keeping.Measure(t.Context(), domain.RelayProcess{ID: domain.ID{1}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	wants := func(when string, emitted, confirmed int64) (s overview.Standing) {
		t.Helper()
		s, err := overviews.Standing(t.Context())
		if err != nil || s.Day.Emitted != emitted || s.Day.Confirmed != confirmed {
			t.Errorf("%s: %+v, %v, want %d and %d", when, s.Day, err, emitted, confirmed)
		}
		return s
	}
	wants("without a sample", 0, 0)
	measure()
	exec(t, db, `INSERT INTO outbox (event_type, payload) VALUES ('a:b', '')`)
	exec(t, db, `INSERT INTO inbox (event_id) SELECT id FROM outbox`)
	if s := wants("after it took effect", 1, 1); s.EmittedUntil.Before(s.SampledAt) || s.ConfirmedUntil.Before(s.SampledAt) {
		t.Errorf("it counts up to %v and %v, the sample is of %v", s.EmittedUntil, s.ConfirmedUntil, s.SampledAt)
	}
	measure()
	if s := wants("after the next sample", 1, 1); s.EmittedUntil != s.SampledAt || s.ConfirmedUntil.Before(s.SampledAt) {
		t.Errorf("it counts up to %v and %v, the sample is of %v", s.EmittedUntil, s.ConfirmedUntil, s.SampledAt)
	}
}

// The deaths of the last hour include those that no sample has. Of four dead letters three died in
// it.
func TestNoMoreDeadLettersWaitThanDied(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	if _, _, err := upkeep.NewHousekeeping(db, "").Measure(t.Context(), domain.RelayProcess{ID: domain.ID{1}}, nil); err != nil {
		t.Fatal(err)
	}
	exec(t, db, `INSERT INTO outbox_dead (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, stage, error, died_at)
		SELECT outbox_new_id(), 'a:b', '', '{}', 'default', now(), 1, 0, now(), 'worker', 'error', now() - n * interval '25 minutes' FROM generate_series(0, 3) n`)
	s, err := search.NewOverviews(db).Standing(t.Context())
	if err != nil || s.Dead != 4 || s.Hour.Died != 3 {
		t.Errorf("%d wait and %d died in the last hour, %v, want 4 and 3", s.Dead, s.Hour.Died, err)
	}
}

// Samples of more than 25 hours ago are joined, and marks explain the charts.
func TestOldSamplesAreJoined(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	keeping, overviews := upkeep.NewHousekeeping(db, ""), search.NewOverviews(db)
	// An hour of samples a day and a half ago, and one hour of now; the leader changes in each.
	exec(t, db, `INSERT INTO outbox_samples SELECT to_timestamp(floor(extract(epoch FROM now() - age) / 300) * 300) + n * interval '10 seconds',
		CASE WHEN n < 180 THEN '00000000-0000-0000-0000-000000000001'::uuid ELSE '00000000-0000-0000-0000-000000000002'::uuid END,
		10, 1, 2, 3, 4, n, 0, 0, n, 0.1, n, 0, 0, NULL
		FROM unnest(ARRAY[interval '36 hours', interval '1 hour']) AS age, generate_series(0, 359) AS n`)
	for _, heal := range []string{"4 days", "3 days"} {
		exec(t, db, `UPDATE outbox_queue_identity SET healed_at = now() - interval '`+heal+`'`)
	}
	for n, version := range []string{"1.2.0", "1.2.0", "1.3.0"} {
		exec(t, db, `INSERT INTO outbox_relays (id, host, pid, version) VALUES (outbox_new_id(), 'h', `+strconv.Itoa(n)+`, '`+version+`')`)
	}
	// Two relays that start together both leave a mark of their version.
	exec(t, db, `INSERT INTO outbox_chart_marks (kind, detail) VALUES ('version', '1.3.0')`)
	exec(t, db, `UPDATE outbox_chart_marks SET at = at - interval '2 days' WHERE kind = 'version'`)
	before, err := overviews.History(t.Context(), 7*24*time.Hour, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing to join
		if err := keeping.ThinSamples(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := count(t, db, `SELECT count(*) FROM outbox_samples WHERE at < now() - interval '25 hours'`); n != 12 {
			t.Errorf("%d old samples, want one for each five minutes of an hour", n)
		}
		if n := count(t, db, `SELECT count(*) FROM outbox_samples`); n != 12+360 {
			t.Errorf("%d samples", n)
		}
	}
	after, err := overviews.History(t.Context(), 7*24*time.Hour, time.Hour)
	if err != nil || len(after) != len(before) {
		t.Fatalf("%d points, and %d before: %v", len(after), len(before), err)
	}
	for i := range after {
		if after[i].Flow != before[i].Flow || after[i].Pending != before[i].Pending || after[i].DelayP99 != before[i].DelayP99 {
			t.Errorf("the hour of %v was %+v and is %+v", before[i].At, before[i], after[i])
		}
	}
	marks, err := overviews.Marks(t.Context(), 7*24*time.Hour)
	kinds := make([]string, len(marks))
	for i, m := range marks {
		kinds[i] = m.Kind + m.Detail
	}
	if want := "leader leader leader version1.3.0 heal heal"; err != nil || strings.Join(kinds, " ") != want {
		t.Errorf("%q, %v, want %q", kinds, err, want)
	}
	if marks, err := overviews.Marks(t.Context(), time.Hour+10*time.Minute); err != nil || len(marks) != 1 {
		t.Errorf("within the hour: %+v, %v", marks, err)
	}
}

// Redis was healed again and again, the first time more than an hour ago.
func TestStandingHasTheHealsOfAnHour(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	for _, ago := range []string{"61 minutes", "50 minutes", "30 minutes", "20 minutes", "10 minutes"} {
		exec(t, db, `UPDATE outbox_queue_identity SET healed_at = now() - interval '`+ago+`', heal_reason = 'it was emptied `+ago+` ago'`)
	}
	s, err := search.NewOverviews(db).Standing(t.Context())
	if err != nil || s.Heals != 4 || len(s.LastHeals) != overview.HealsNamed {
		t.Fatalf("%d heals, of them %+v, %v", s.Heals, s.LastHeals, err)
	}
	for n, ago := range []time.Duration{10 * time.Minute, 20 * time.Minute, 30 * time.Minute} {
		if h := s.LastHeals[n]; h.Reason != fmt.Sprintf("it was emptied %.0f minutes ago", ago.Minutes()) || s.At.Sub(h.At).Round(time.Minute) != ago {
			t.Errorf("heal %d: %+v", n, h)
		}
	}
}

// Marks that no chart shows any more are deleted, except for the version that the next relay is compared with.
func TestOldMarksOfVersionsAreDeleted(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	start := func(version string, marks int) {
		t.Helper()
		exec(t, db, `UPDATE outbox_chart_marks SET at = at - interval '9 days'`)
		exec(t, db, `INSERT INTO outbox_relays (id, host, pid, version) VALUES (outbox_new_id(), 'h', 1, '`+version+`')`)
		if n := count(t, db, `SELECT count(*) FROM outbox_chart_marks`); n != marks {
			t.Errorf("after the start of %s there are %d marks, want %d", version, n, marks)
		}
	}
	start("1.2.0", 1)
	start("1.2.0", 1) // no new mark, but a version to compare with
	start("1.3.0", 2)
	start("1.4.0", 2)
}
