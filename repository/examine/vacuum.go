package examine

import (
	"context"
	"errors"

	"outboxd/domain/diagnosis"
	"outboxd/domain/diagnosis/thorough"

	"github.com/jackc/pgx/v5"
)

// autovacuumSQL looks at the tables from which rows are deleted about as often as rows
// are inserted.
const autovacuumSQL = `
SELECT c.relname,
       current_setting('autovacuum') = 'off' OR current_setting('track_counts') = 'off' OR EXISTS (
           SELECT FROM pg_options_to_table(c.reloptions) WHERE option_name = 'autovacuum_enabled' AND NOT option_value::boolean),
       pg_stat_get_dead_tuples(c.oid), pg_stat_get_live_tuples(c.oid),
       coalesce(extract(epoch FROM clock_timestamp() - greatest(pg_stat_get_last_vacuum_time(c.oid), pg_stat_get_last_autovacuum_time(c.oid))), -1)::float8
FROM pg_class c
WHERE c.oid = ANY(ARRAY['outbox', 'outbox_held', 'outbox_turns', 'outbox_entries']::regclass[])
ORDER BY c.relname`

func (e *Examiner) autovacuum(ctx context.Context, tx pgx.Tx, facts *thorough.PostgresFacts) error {
	rows, err := tx.Query(ctx, autovacuumSQL)
	if err != nil {
		return err
	}
	var t thorough.TableVacuum
	var ago float64
	_, err = pgx.ForEachRow(rows, []any{&t.Table, &t.Off, &t.Dead, &t.Live, &ago}, func() error {
		t.Last = inSeconds(ago)
		facts.Tables = append(facts.Tables, t)
		return nil
	})
	return err
}

// A session holds back vacuum with a snapshot (backend_xmin) or with a transaction that
// has written (backend_xid). The session may belong to this database, or to a standby,
// which has no database. VACUUM itself does not count. PostgreSQL shows backend_xmin and
// backend_xid to every role, but shows the times and states of sessions only to their own
// role, to superusers, and to members of pg_read_all_stats, such as pg_monitor.
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

func (e *Examiner) snapshots(ctx context.Context, tx pgx.Tx, facts *thorough.PostgresFacts) error {
	var s thorough.Snapshot
	var open float64
	var count int
	err := tx.QueryRow(ctx, snapshotsSQL, e.o.SnapshotAge.Seconds(), diagnosis.OldTransactions).Scan(&s.PID, &s.Application, &s.State, &open, &s.Transactions, &count)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	s.Application, s.Open, s.More = legible(s.Application), inSeconds(open), count-1
	facts.Snapshot = &s
	return nil
}

const preparedSQL = `
SELECT quote_literal(gid), owner, extract(epoch FROM clock_timestamp() - prepared)::float8, count(*) OVER ()
FROM pg_prepared_xacts
WHERE database = current_database() AND prepared < clock_timestamp() - $1 * interval '1 second'
ORDER BY prepared LIMIT 1`

func (e *Examiner) prepared(ctx context.Context, tx pgx.Tx, facts *thorough.PostgresFacts) error {
	var p thorough.PreparedTransaction
	var open float64
	err := tx.QueryRow(ctx, preparedSQL, e.o.SnapshotAge.Seconds()).Scan(&p.GID, &p.Owner, &open, &p.Count)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	p.GID, p.Owner, p.Open = legible(p.GID), legible(p.Owner), inSeconds(open)
	facts.Prepared = &p
	return nil
}

// A lost replication slot keeps no WAL. The slot's standby or subscriber must be set up
// again.
const slotsSQL = `
SELECT slot_name, active, coalesce(wal_status, ''), coalesce(age(xmin), 0),
       coalesce(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn), 0)::bigint
FROM pg_replication_slots WHERE NOT temporary ORDER BY 5 DESC`

func (e *Examiner) slots(ctx context.Context, tx pgx.Tx, facts *thorough.PostgresFacts) error {
	rows, err := tx.Query(ctx, slotsSQL)
	if err != nil {
		return err
	}
	slot := thorough.ReplicationSlot{Limit: e.o.SlotBytes}
	_, err = pgx.ForEachRow(rows, []any{&slot.Name, &slot.Active, &slot.Status, &slot.Transactions, &slot.Bytes}, func() error {
		facts.Slots = append(facts.Slots, slot)
		return nil
	})
	return err
}
