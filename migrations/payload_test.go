package migrations_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"testing"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/migrations"
)

const insertPayload = `INSERT INTO outbox (event_type, payload) VALUES ('test:a', convert_to(repeat('x', $1), 'UTF8'))`

// limitPayload sets a limit. want says whether that must change anything.
func limitPayload(t *testing.T, db *sql.DB, limit int, want bool) {
	t.Helper()
	changed, err := migrations.LimitPayload(t.Context(), db, limit, servertest.Logger(t))
	if err != nil || changed != want {
		t.Fatalf("limit payloads to %d: %t, %v, want %t", limit, changed, err, want)
	}
	if got, err := migrations.PayloadLimit(t.Context(), db); err != nil || got != limit {
		t.Fatalf("the limit is %d, %v, want %d", got, err, limit)
	}
	if n := count(t, db, "SELECT count(*) FROM pg_constraint WHERE conrelid = 'outbox'::regclass AND conname LIKE '%payload%'"); n != 1 {
		t.Fatalf("%d constraints limit payloads", n)
	}
}

func TestThePayloadLimitIsEnforcedWhereTheProducerSeesIt(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t).SQL()
	limitPayload(t, db, 1<<20, false) // as the migrations made it
	for _, test := range []struct {
		limit int
		name  string
	}{{4 << 20, "4_mib"}, {1536, "1536_bytes"}, {1536 << 10, "1536_kib"}, {1 << 10, "1_kib"}, {64 << 20, "64_mib"}, {1 << 20, "1_mib"}} {
		limitPayload(t, db, test.limit, true)
		limitPayload(t, db, test.limit, false)
		exec(t, db, insertPayload, test.limit)
		want := "outbox_payload_has_at_most_" + test.name
		for _, statement := range []string{insertPayload, `SELECT outboxd.emit('test:a', to_jsonb(repeat('x', $1 - 1)))`} { // the two quotation marks of the JSON text count too
			if _, err := db.ExecContext(t.Context(), statement, test.limit+1); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("one byte more than %d: %.200v, want an error that names %s", test.limit, err, want)
			}
		}
	}
}

func TestProcessesThatLimitPayloadsAtOnceTakeTurns(t *testing.T) {
	t.Parallel()
	url := schematest.Database(t)
	db := schematest.Connect(t, url).SQL()
	const processes = 4
	changed, errs := make([]bool, processes), make([]error, processes)
	var all sync.WaitGroup
	for i := range processes {
		all.Go(func() {
			changed[i], errs[i] = migrations.LimitPayload(t.Context(), db, 2<<20, servertest.Logger(t))
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	changes := 0
	for _, c := range changed {
		if c {
			changes++
		}
	}
	if changes != 1 {
		t.Errorf("%d of %d processes changed the limit, want one", changes, processes)
	}
	limitPayload(t, db, 2<<20, false)
}

// While LimitPayload waits for a producer's long transaction, other producers must
// not have to wait until that transaction ends.
func TestLimitPayloadGivesUpOnATableInUse(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t).SQL()
	long, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = long.Rollback() }()
	if _, err := long.ExecContext(t.Context(), insertPayload, 1<<20); err != nil {
		t.Fatal(err)
	}
	if changed, err := migrations.LimitPayload(t.Context(), db, 1<<10, servertest.Logger(t)); err == nil || changed || !strings.Contains(err.Error(), "keep the table outbox in use") {
		t.Errorf("while the table is in use: %t, %v", changed, err)
	}
	exec(t, db, insertPayload, 1<<20)
	if err := long.Commit(); err != nil {
		t.Fatal(err)
	}
	limitPayload(t, db, 1<<10, true)
}

// An event that was in the outbox before the limit was lowered may return to
// the outbox.
func TestALoweredLimitSparesWhatIsThere(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t).SQL()
	exec(t, db, insertPayload, 1<<20)
	limitPayload(t, db, 1<<10, true)
	limitPayload(t, db, 2<<10, true)
	exec(t, db, "UPDATE outbox SET attempts = attempts + 1")
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	for _, statement := range []string{
		"CREATE TEMPORARY TABLE taken ON COMMIT DROP AS SELECT * FROM outbox", "DELETE FROM outbox", "INSERT INTO outbox SELECT * FROM taken",
	} {
		if _, err := tx.ExecContext(context.WithoutCancel(t.Context()), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if n := count(t, db, "SELECT count(*) FROM outbox WHERE octet_length(payload) = 1048576"); n != 1 {
		t.Errorf("%d rows are there, want the large one", n)
	}
}
