package repository_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/app/schematest"
	"outboxd/app/servertest/postgrestest"
	"outboxd/domain"
	"outboxd/repository"
	"outboxd/repository/deadletters"
	"outboxd/repository/examine"
	"outboxd/repository/heal"
	"outboxd/repository/postgres"
	"outboxd/repository/upkeep"
)

// These tests make the backups and restores of docs/guides/backup.md.

// The function stock leaves events pending, held, in flight, dead and confirmed.
func stock(t *testing.T, db *postgres.Database) {
	t.Helper()
	house, store := upkeep.NewHousekeeping(db, ""), repository.NewOutbox(db, repository.OutboxOptions{History: true})
	if err := house.KeepPartitions(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	emit(t, db, 6)
	die(t, store, "broken")
	emitKeyed(t, db, "a1", "a2", "a3", "b1", "b2")
	relayAll(t, store)
	confirmEvent(t, db, "test:2")
	confirmEvent(t, db, "b1")
	if _, err := house.FoldAccount(t.Context()); err != nil {
		t.Fatal(err)
	}
	emit(t, db, 3) // pending, and in the entries
}

var carried = []string{
	"outbox", "outbox_held", "outbox_sent", "outbox_dead", "outbox_turns", "inbox", "outbox_entries", "outbox_account", "outbox_journal", "outbox_actions",
	"outbox_queue_identity", "outbox_missing",
}

// contents returns the rows of the tables in carried as text.
func contents(t *testing.T, db *postgres.Database) string {
	t.Helper()
	var all strings.Builder
	for _, table := range carried {
		var rows string
		err := db.SQL().QueryRowContext(t.Context(), "SELECT coalesce(string_agg(r::text, E'\\n' ORDER BY r::text), '') FROM "+table+" r").Scan(&rows)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&all, "%s\n%s\n", table, rows)
	}
	return all.String()
}

// goesOn checks that a restored database goes on with the work of the original.
func goesOn(t *testing.T, db *postgres.Database) {
	t.Helper()
	err := upkeep.NewHousekeeping(db, "").KeepPartitions(t.Context(), time.Hour) // as the relay that leads does at once
	if err != nil {
		t.Fatal(err)
	}
	found, err := examine.New(db, healthy()).Examine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range []string{"positions-behind", "triggers-off", "partition-missing"} {
		if said := text(found, code); said != "" {
			t.Errorf("doctor says %s", said)
		}
	}
	balance(t, db)
	store := repository.NewOutbox(db, repository.OutboxOptions{History: true})
	emitKeyed(t, db, "a4")
	relayAll(t, store)
	for _, step := range []struct{ confirmed, next string }{{"a1", "a2"}, {"a2", "a3"}, {"a3", "a4"}} {
		confirmEvent(t, db, step.confirmed)
		if went := relayAll(t, store); went != step.next {
			t.Errorf("after %s went %q, want %s", step.confirmed, went, step.next)
		}
	}
	if _, err := heal.NewRedriver(db).Redrive(t.Context(), time.Hour); err != nil {
		t.Error(err)
	}
	balance(t, db)
}

// sameThere checks that a copy has the contents of its original.
func sameThere(t *testing.T, original, restored *postgres.Database) {
	t.Helper()
	if want, got := contents(t, original), contents(t, restored); got != want {
		t.Errorf("the copy has\n%s\n\nthe original\n%s", got, want)
	}
}

// mend runs deploy/postgres/restored.sql with the name of db's schema, after a
// check that the sum in it leaves out no column.
func mend(t *testing.T, db *postgres.Database) {
	t.Helper()
	script, err := os.ReadFile("../deploy/postgres/restored.sql")
	if err != nil {
		t.Fatal(err)
	}
	var sum string
	err = db.SQL().QueryRowContext(t.Context(), `SELECT string_agg(attname, ' + ' ORDER BY attnum) FROM pg_attribute
		WHERE attrelid = 'outbox_account'::regclass AND atttypid = 'bigint'::regtype AND attname NOT IN ('emitted', 'deliveries') AND attnum > 0 AND NOT attisdropped`).Scan(&sum)
	if err != nil || !strings.Contains(string(script), "emitted = "+sum+";") {
		t.Errorf("restored.sql does not sum up %s, %v", sum, err)
	}
	exec(t, db, strings.Replace(string(script), "SET search_path = outboxd", "SET search_path = "+db.Schema(), 1))
}

func TestBackupOfAWholeDatabaseIntoAnotherCluster(t *testing.T) {
	t.Parallel()
	from, dump := schematest.RoleDatabase(t), filepath.Join(t.TempDir(), "outbox.dump")
	original := schematest.Connect(t, from("outboxd_owner"))
	stock(t, original)
	postgrestest.Tool(t, from(""), "pg_dump", "--format=custom", "--file="+dump)

	admin := postgrestest.Start(t).URL()
	schematest.RunDeployed(t, admin, "roles.sql")
	postgrestest.Tool(t, admin, "pg_restore", "--dbname=outboxd", "--clean", "--if-exists", "--exit-on-error", dump)
	to := schematest.RolesOf(t, admin)
	sameThere(t, original, schematest.Connect(t, to("outboxd_owner")))
	schematest.RunDeployed(t, to("outboxd_owner"), "grants.sql")
	if went := relayAll(t, repository.NewOutbox(schematest.Connect(t, to("outboxd_relay")), repository.OutboxOptions{History: true})); !strings.Contains(went, "test:1") {
		t.Errorf("the relay's role relayed %q", went)
	}
	if err := upkeep.NewHousekeeping(schematest.Connect(t, to("outboxd_relay")), "").KeepPartitions(t.Context(), time.Hour); err != nil {
		t.Error(err)
	}
	goesOn(t, schematest.Connect(t, to("outboxd_owner")))
}

func TestBackupOfTheDataOnly(t *testing.T) {
	t.Parallel()
	from, dump := schematest.RoleDatabase(t), filepath.Join(t.TempDir(), "data.dump")
	original := schematest.Connect(t, from("outboxd_owner"))
	stock(t, original)
	postgrestest.Tool(t, from(""), "pg_dump", "--format=custom", "--data-only", "--schema=outboxd", "--load-via-partition-root", "--file="+dump)
	for name, c := range map[string]struct {
		options []string
		same    bool
	}{
		"without triggers": {[]string{"PGOPTIONS=-c session_replication_role=replica"}, true},
		"with triggers":    {nil, false}, // a mistake, which restored.sql mends
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			to := schematest.RoleDatabase(t)
			exec(t, schematest.Connect(t, to("")), "TRUNCATE outboxd.outboxd_migrations, outboxd.outbox_queue_identity")
			postgrestest.Tool(t, to(""), "pg_restore", append(c.options, "--dbname=outboxd", "--data-only", "--exit-on-error", dump)...)
			restored := schematest.Connect(t, to("outboxd_owner"))
			if c.same {
				sameThere(t, original, restored)
			} else if count(t, restored, "SELECT count(*) FROM outbox_entries") == count(t, original, "SELECT count(*) FROM outbox_entries") {
				t.Error("the triggers entered nothing: is this still a mistake?")
			}
			mend(t, restored)
			goesOn(t, restored)
		})
	}
}

func TestBackupOfAPointInTime(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	archive := server.Archive()
	original := schematest.Connect(t, server.URL())
	migrate(t, original)
	stock(t, original)
	want := contents(t, original)
	archive.Mark("before the mistake")
	exec(t, original, "DELETE FROM outbox; DELETE FROM outbox_sent")
	archive.Mark("after it")
	restored := schematest.Connect(t, archive.Restore(t, "before the mistake").URL())
	if got := contents(t, restored); got != want {
		t.Errorf("there is\n%s\n\nwant\n%s", got, want)
	}
	goesOn(t, restored)
}

// An upgrade by logical replication, while producers and relays work until the switch.
func TestBackupByLogicalReplication(t *testing.T) {
	t.Parallel()
	server, newer := postgrestest.Start(t), postgrestest.Start(t)
	exec(t, schematest.Connect(t, server.URL()), "ALTER SYSTEM SET wal_level = logical")
	server.Stop()
	server.Start()
	original, upgraded := schematest.Connect(t, server.URL()), schematest.Connect(t, newer.URL())
	migrate(t, original)
	migrate(t, upgraded)
	stock(t, original)
	exec(t, original, "CREATE PUBLICATION upgrade FOR ALL TABLES WITH (publish_via_partition_root = true)")
	exec(t, upgraded, "TRUNCATE outboxd_migrations, outbox_queue_identity")
	where, err := pgx.ParseConfig(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	exec(t, upgraded, fmt.Sprintf("CREATE SUBSCRIPTION upgrade CONNECTION 'host=%s port=%d user=%s dbname=%s' PUBLICATION upgrade", where.Host, where.Port, where.User, where.Database))
	eventually(t, upgraded, 0, "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'")

	// Rows come, go back to outbox, and are deleted.
	store, house := repository.NewOutbox(original, repository.OutboxOptions{History: true}), upkeep.NewHousekeeping(original, "")
	emitKeyed(t, original, "c1", "c2")
	relayAll(t, store)
	_, err = heal.NewRedriver(original).Redrive(t.Context(), time.Hour)
	if err == nil {
		_, err = house.FoldAccount(t.Context())
	}
	if err == nil {
		relayAll(t, store)
		exec(t, original, "DROP TABLE outbox_sent_"+time.Now().UTC().AddDate(0, 0, 5).Format("20060102"))
		err = house.KeepPartitions(t.Context(), time.Hour)
	}
	if err == nil {
		_, err = deadletters.New(original).Discard(t.Context(), &domain.Action{Actor: "ada", Reason: "done"}, domain.DeadFilter{}, 10)
	}
	if err != nil {
		t.Fatal(err)
	}
	emit(t, original, 2)
	var until string
	if err := original.SQL().QueryRowContext(t.Context(), "SELECT pg_current_wal_lsn()").Scan(&until); err != nil {
		t.Fatal(err)
	}
	eventually(t, original, 1, "SELECT count(*) FROM pg_replication_slots WHERE confirmed_flush_lsn >= $1::pg_lsn", until)
	exec(t, upgraded, "DROP SUBSCRIPTION upgrade")
	sameThere(t, original, upgraded)
	found, err := examine.New(upgraded, healthy()).Examine(t.Context())
	if err != nil || text(found, "positions-behind") == "" {
		t.Errorf("doctor does not say that the sequence is behind: %v, %v", found, err)
	}
	mend(t, upgraded)
	goesOn(t, upgraded)
}

// The highest position that outbox accepts must not use the sequence up: otherwise every
// later event with a key would be refused. Nor must a higher position, from a table
// without its CHECK.
func TestTheHighestPositionLeavesNumbersForLaterEvents(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	const add = `INSERT INTO outbox (event_type, payload, ordering_key, ordering_position) VALUES ('t', '', 'k', $1)`
	exec(t, db, add, int64(1)<<62-1)
	leavesNumbers(t, db)
	var check string
	if err := db.SQL().QueryRowContext(t.Context(), "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'outbox_within_bounds' AND conrelid = 'outbox'::regclass").Scan(&check); err != nil {
		t.Fatal(err)
	}
	exec(t, db, "ALTER TABLE outbox DROP CONSTRAINT outbox_within_bounds")
	exec(t, db, add, int64(math.MaxInt64))
	exec(t, db, "ALTER TABLE outbox ADD CONSTRAINT outbox_within_bounds "+check+" NOT VALID")
	leavesNumbers(t, db)
}

// leavesNumbers checks that outbox accepts the next numbers of the sequence after restored.sql has
// run.
func leavesNumbers(t *testing.T, db *postgres.Database) {
	t.Helper()
	mend(t, db)
	exec(t, db, `SELECT outboxd.emit('t', '{}', ordering_key => 'other')`)
	found, err := examine.New(db, healthy()).Examine(t.Context())
	if said := text(found, "positions-behind"); err != nil || said != "" {
		t.Errorf("doctor says %s, %v", said, err)
	}
}

// A session may have its triggers off, as a replication tool's has. Its events are
// relayed, and an event that would have no place in its key's order is refused.
func TestASessionWithoutTriggers(t *testing.T) {
	t.Parallel()
	url := schematest.Database(t)
	db := schematest.Connect(t, url)
	replica, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = replica.Close(context.WithoutCancel(t.Context())) })
	store, house := repository.NewOutbox(db, repository.OutboxOptions{History: true}), upkeep.NewHousekeeping(db, "")
	emitKeyed(t, db, "a1", "a2")
	run := func(statement string) error {
		_, err := replica.Exec(t.Context(), statement)
		return err
	}
	if err := run("SET session_replication_role = replica"); err != nil {
		t.Fatal(err)
	}
	if err := run("SELECT outboxd.emit('b1', '{}', ordering_key => 'b')"); err == nil || !strings.Contains(err.Error(), "outbox_ordering_key_has_a_position") {
		t.Errorf("a keyed event without triggers: %v", err)
	}
	if err := run("SELECT outboxd.emit('plain', '{}')"); err != nil {
		t.Error(err)
	}
	if went := relayAll(t, store); went != "plain a1" { // a1 was held until its key was looked at
		t.Errorf("relayed %q", went)
	}
	if n := count(t, db, "SELECT count(*) FROM outbox_entries"); n != 2 {
		t.Errorf("%d events are entered into the account, want those with triggers", n)
	}
	if err := run("SELECT outboxd.confirm(id) FROM outbox_sent WHERE event_type = 'a1'"); err != nil {
		t.Error(err)
	}
	if _, _, _, err := house.AdvanceKeys(t.Context(), "", 100, true); err != nil {
		t.Error(err)
	}
	if went := relayAll(t, store); went != "a2" {
		t.Errorf("after the leader looked went %q", went)
	}
	mend(t, db)
	balance(t, db)
}
