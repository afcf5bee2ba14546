package examine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
)

// Dead rows are normal in a table that every event passes through. It is too
// many when vacuum did not come for a while and most of what a scan reads is
// dead.
const (
	deadRows   = 100_000
	vacuumIdle = 5 * time.Minute
)

// The tables that each event passes through, or that are written with each.
const autovacuumSQL = `
SELECT c.relname,
       current_setting('autovacuum') = 'off' OR current_setting('track_counts') = 'off' OR EXISTS (
           SELECT FROM pg_options_to_table(c.reloptions) WHERE option_name = 'autovacuum_enabled' AND NOT option_value::boolean),
       pg_stat_get_dead_tuples(c.oid), pg_stat_get_live_tuples(c.oid),
       coalesce(extract(epoch FROM clock_timestamp() - greatest(pg_stat_get_last_vacuum_time(c.oid), pg_stat_get_last_autovacuum_time(c.oid))), -1)::float8
FROM pg_class c
WHERE c.oid = ANY(ARRAY['outbox', 'outbox_held', 'outbox_turns', 'outbox_entries']::regclass[])
ORDER BY c.relname`

func (e *Examiner) autovacuum(ctx context.Context, tx pgx.Tx) (found []domain.Finding, err error) {
	rows, err := tx.Query(ctx, autovacuumSQL)
	if err != nil {
		return nil, err
	}
	var off, behind []string
	var table string
	var disabled bool
	var dead, live int64
	var ago float64
	_, err = pgx.ForEachRow(rows, []any{&table, &disabled, &dead, &live, &ago}, func() error {
		if disabled {
			off = append(off, table)
		}
		last := time.Duration(ago * float64(time.Second))
		if dead > max(deadRows, live/2) && (ago < 0 || last > vacuumIdle) {
			when := "never vacuumed"
			if ago >= 0 {
				when = "vacuumed " + span(last) + " ago"
			}
			behind = append(behind, fmt.Sprintf("%s has %d dead rows beside %d live ones and was %s", table, dead, live, when))
		}
		return nil
	})
	if len(off) > 0 {
		found = append(found, domain.Finding{
			Code: "autovacuum-off", Level: domain.FindingWarning,
			Found:       "autovacuum is off for " + strings.Join(off, ", "),
			Consequence: "dead rows pile up by the number of events: tables and indexes grow, and every look from the beginning gets slower",
			Remedy:      "ALTER TABLE " + off[0] + " RESET (autovacuum_enabled) for each of them; ALTER SYSTEM SET autovacuum = on; ALTER SYSTEM SET track_counts = on; SELECT pg_reload_conf()",
		})
	}
	if len(behind) > 0 {
		found = append(found, domain.Finding{
			Code: "vacuum-behind", Level: domain.FindingWarning,
			Found:       strings.Join(behind, "; "),
			Consequence: "claims that start at the beginning read all of the dead rows: late events are found later, and the disk fills",
			Remedy:      "look for old-snapshot, prepared-transaction and replication-slot in this list first, then VACUUM (VERBOSE) outbox",
		})
	}
	return found, err
}

// oldTransactions is how many transactions ago a snapshot may be of which this
// role is not told when it was taken.
const oldTransactions = 1_000_000

// What holds back vacuum: a snapshot (backend_xmin) or a transaction that wrote
// (backend_xid), of this database, or of a standby (without one). VACUUM itself does not.
// PostgreSQL shows both to everybody, and since when and in which state only to the same role and pg_monitor.
const snapshotsSQL = `
SELECT pid, coalesce(application_name, ''), coalesce(state, ''), coalesce(extract(epoch FROM clock_timestamp() - xact_start), -1)::float8,
       coalesce(greatest(age(backend_xmin), age(backend_xid)), 0), count(*) OVER ()
FROM pg_stat_activity
WHERE (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
  AND (datname = current_database() OR datname IS NULL)
  AND pid <> pg_backend_pid() AND pid NOT IN (SELECT pid FROM pg_stat_progress_vacuum)
  AND (xact_start < clock_timestamp() - $1 * interval '1 second'
       OR xact_start IS NULL AND greatest(age(backend_xmin), age(backend_xid)) > $2)
ORDER BY xact_start NULLS LAST, 5 DESC LIMIT 1`

func (e *Examiner) snapshots(ctx context.Context, tx pgx.Tx) ([]domain.Finding, error) {
	var pid, count int
	var application, state string
	var open float64
	var age int64
	err := tx.QueryRow(ctx, snapshotsSQL, e.o.SnapshotAge.Seconds(), oldTransactions).Scan(&pid, &application, &state, &open, &age, &count)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	who := fmt.Sprintf("pid %d", pid)
	if application != "" {
		who += ", application " + legible(application)
	}
	if state != "" {
		who += ", " + state
	}
	found := fmt.Sprintf("a snapshot of %d transactions ago is in use (%s)", age, who)
	if open >= 0 {
		found = fmt.Sprintf("a transaction has been open for %s (%s)", span(time.Duration(open*float64(time.Second))), who)
	}
	if count > 1 {
		found += fmt.Sprintf(", and %d more like it", count-1)
	}
	return one(domain.Finding{
		Code: "old-snapshot", Level: domain.FindingWarning,
		Found:       found,
		Consequence: "vacuum removes no row that was deleted since: outbox and its indexes grow with every event, whatever the relay does",
		Remedy:      fmt.Sprintf("end it where it runs, or SELECT pg_terminate_backend(%d); and set idle_in_transaction_session_timeout for its role", pid),
	}), nil
}

const preparedSQL = `
SELECT quote_literal(gid), owner, extract(epoch FROM clock_timestamp() - prepared)::float8, count(*) OVER ()
FROM pg_prepared_xacts
WHERE database = current_database() AND prepared < clock_timestamp() - $1 * interval '1 second'
ORDER BY prepared LIMIT 1`

func (e *Examiner) prepared(ctx context.Context, tx pgx.Tx) ([]domain.Finding, error) {
	var gid, owner string
	var open float64
	var count int
	err := tx.QueryRow(ctx, preparedSQL, e.o.SnapshotAge.Seconds()).Scan(&gid, &owner, &open, &count)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return one(domain.Finding{
		Code: "prepared-transaction", Level: domain.FindingWarning,
		Found: fmt.Sprintf("%d prepared transactions wait for their end, the oldest, %s of %s, for %s",
			count, legible(gid), legible(owner), span(time.Duration(open*float64(time.Second)))),
		Consequence: "they hold their locks and hold back vacuum, also over a restart, until somebody ends them",
		Remedy:      "ask the transaction manager, then COMMIT PREPARED or ROLLBACK PREPARED " + legible(gid),
	}), nil
}

// A slot that was lost keeps nothing any more; its standby or subscriber has to begin anew.
const slotsSQL = `
SELECT slot_name, active, coalesce(wal_status, ''), coalesce(age(xmin), 0),
       coalesce(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn), 0)::bigint
FROM pg_replication_slots WHERE NOT temporary ORDER BY 5 DESC`

func (e *Examiner) slots(ctx context.Context, tx pgx.Tx) ([]domain.Finding, error) {
	rows, err := tx.Query(ctx, slotsSQL)
	if err != nil {
		return nil, err
	}
	var trouble []string
	var worst string
	level := domain.FindingNote
	var name, status string
	var active bool
	var age, bytes int64
	_, err = pgx.ForEachRow(rows, []any{&name, &active, &status, &age, &bytes}, func() error {
		bad := bytes >= e.o.SlotBytes || age >= oldTransactions || status == "unreserved" || status == "lost"
		if active && !bad {
			return nil
		}
		if bad {
			level = domain.FindingWarning
		}
		if worst == "" {
			worst = name // names have lower case letters, digits and underscores only
		}
		use := "not in use"
		if active {
			use = "in use"
		}
		trouble = append(trouble, fmt.Sprintf("the replication slot %s is %s, keeps %d MiB of WAL (%s), and its snapshot is %d transactions old",
			name, use, bytes>>20, status, age))
		return nil
	})
	if err != nil || len(trouble) == 0 {
		return nil, err
	}
	return one(domain.Finding{
		Code: "replication-slot", Level: level,
		Found:       strings.Join(trouble, "; "),
		Consequence: "a slot whose reader is away keeps WAL until the disk is full, and may hold back vacuum as an old snapshot does",
		Remedy:      "bring its reader back, or SELECT pg_drop_replication_slot('" + worst + "'); and set max_slot_wal_keep_size",
	}), nil
}

// legible makes what others chose as a name fit a line.
func legible(name string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, name)
}
