package heal_test

import (
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/repository/heal"
)

// A connection that breaks, or a conflict with another transaction, does not end a
// redrive. Only the piece in which it happened is repeated.
func TestARedriveOutlastsAFleetingError(t *testing.T) {
	t.Parallel()
	for name, failure := range map[string]string{
		"a broken connection": "PERFORM pg_terminate_backend(pg_backend_pid())",
		"a deadlock":          "RAISE EXCEPTION USING ERRCODE = ''deadlock_detected''",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := schematest.Open(t)
			exec(t, db, `INSERT INTO outbox_sent (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at)
				SELECT outbox_new_id(), 'test', '', '{}', 'default', now(), 0, 0, now() FROM generate_series(1, 20)`)
			exec(t, db, "CREATE SEQUENCE tries") // a rollback does not set it back
			exec(t, db, "CREATE FUNCTION fail_first() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF nextval(''tries'') = 1 THEN "+failure+"; END IF; RETURN NEW; END'")
			exec(t, db, "CREATE TRIGGER fail_first BEFORE INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION fail_first()")
			if n, err := heal.NewRedriver(db).Redrive(t.Context(), time.Hour); err != nil || n != 20 {
				t.Errorf("%d went back, %v, want 20", n, err)
			}
		})
	}
}
