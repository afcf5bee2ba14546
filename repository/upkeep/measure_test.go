package upkeep_test

import (
	"testing"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/repository/upkeep"
)

// If there are more entries than a measurement counts, PostgreSQL's own counter says how
// many there are.
func TestAMeasurementEstimatesALargeAccount(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	const entries = upkeep.EntriesLimit + 100_000
	exec(t, db, `INSERT INTO outbox_entries SELECT 'a:b', now() FROM generate_series(1, $1)`, entries)
	eventually(t, db, entries, `SELECT pg_stat_get_live_tuples('outbox_entries'::regclass)`)
	keeping := upkeep.NewHousekeeping(db, "")
	for _, when := range []string{"before", "after"} {
		if _, _, err := keeping.Measure(t.Context(), domain.RelayProcess{}, nil); err != nil {
			t.Fatal(err)
		}
		if n := count(t, db, `SELECT emitted_total FROM outbox_samples ORDER BY at DESC LIMIT 1`); n != entries {
			t.Errorf("%d emitted %s the account was added up, want %d", n, when, entries)
		}
		if _, err := keeping.FoldAccount(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// A cancelled event has a row in inbox, and no consumer confirmed it.
func TestASampleDoesNotCountCancellationsAsConfirmations(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	exec(t, db, "SELECT outboxd.emit('test', '{}') FROM generate_series(1, 3)")
	exec(t, db, "SELECT outboxd.cancel(id) FROM (SELECT id FROM outbox LIMIT 2) AS two")
	exec(t, db, "SELECT outboxd.confirm(id) FROM outbox")
	exec(t, db, "UPDATE inbox SET processed_at = now() - interval '15 seconds'")
	keeping := upkeep.NewHousekeeping(db, "")
	if _, _, err := keeping.Measure(t.Context(), domain.RelayProcess{}, nil); err != nil {
		t.Fatal(err)
	}
	exec(t, db, "UPDATE outbox_samples SET at = at - interval '20 seconds'")
	if _, _, err := keeping.Measure(t.Context(), domain.RelayProcess{}, nil); err != nil {
		t.Fatal(err)
	}
	if n := count(t, db, `SELECT confirmed FROM outbox_samples ORDER BY at DESC LIMIT 1`); n != 1 {
		t.Errorf("%d confirmations, want 1", n)
	}
}

// One measurement reports each rare duty of the leader that has something to do.
func TestChores(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	keeping := upkeep.NewHousekeeping(db, "")
	reports := func(what string, want domain.Chores) {
		t.Helper()
		if _, chores, err := keeping.Measure(t.Context(), domain.RelayProcess{}, nil); err != nil || chores != want {
			t.Errorf("%s: %+v, %v, want %+v", what, chores, err, want)
		}
	}
	exec(t, db, `INSERT INTO outbox_schedules (name, cron, time_zone, missed, event_type, payload, next_at)
		VALUES ('hourly', '@hourly', 'UTC', 'once', 'report:build', '', now() + interval '50 minutes')`)
	reports("a tick within the hour", domain.Chores{})
	exec(t, db, `UPDATE outbox_schedules SET next_at = now() + interval '20 seconds'`)
	reports("a tick in 20 s", domain.Chores{Tick: true})
	exec(t, db, `UPDATE outbox_schedules SET next_at = now() - interval '1 hour', paused_at = now()`)
	reports("a schedule that is paused", domain.Chores{})
	exec(t, db, `INSERT INTO outbox_void_tasks (event_id, queue, generation, until) VALUES (outbox_new_id(), 'default', 0, now())`)
	reports("a void task", domain.Chores{Remove: true})
	exec(t, db, `UPDATE outbox_void_tasks SET removed_at = now()`)
	reports("a void task that is removed", domain.Chores{})
}
