package examine

import (
	"context"
	"fmt"

	"outboxd/domain/diagnosis/thorough"
	"outboxd/domain/lives"

	"github.com/jackc/pgx/v5"

	"outboxd/repository/stored"
)

// The checks in this file look for faults that a restore, an upgrade or a person may
// leave behind; see docs/guides/backup.md.

const triggersSQL = `
SELECT coalesce(string_agg(wanted.name || ' of ' || wanted.relation, ', ' ORDER BY wanted.name), '')
FROM (VALUES ('outbox', 'outbox_written'), ('outbox', 'outbox_take_position'), ('outbox_entries', 'outbox_wake'), ('inbox', 'outbox_confirmed'),
    ('inbox', 'outbox_confirming'), ('inbox', 'outbox_delivery_confirmed'), ('outbox_cancelled', 'outbox_took_back')) AS wanted (relation, name)
WHERE NOT EXISTS (SELECT FROM pg_trigger t
    WHERE t.tgrelid = wanted.relation::regclass AND t.tgname = wanted.name AND t.tgenabled IN ('O', 'A'))`

// A trigger with ENABLE ALWAYS also runs for rows that logical replication applies. So
// with ENABLE ALWAYS, outboxd's triggers would count each replicated event in the account
// twice.
const alwaysSQL = `
SELECT coalesce(string_agg(tgname, ', ' ORDER BY tgname), '') FROM pg_trigger
WHERE tgrelid IN ('outbox'::regclass, 'outbox_entries'::regclass, 'inbox'::regclass, 'outbox_cancelled'::regclass) AND tgenabled = 'A' AND NOT tgisinternal`

func (e *Examiner) triggers(ctx context.Context, tx pgx.Tx, facts *thorough.PostgresFacts) error {
	var off, always string
	if err := tx.QueryRow(ctx, triggersSQL).Scan(&off); err != nil {
		return err
	}
	if err := tx.QueryRow(ctx, alwaysSQL).Scan(&always); err != nil {
		return err
	}
	facts.TriggersOff, facts.TriggersAlways = off, always
	return nil
}

const replicaRolesSQL = `
SELECT coalesce(string_agg(DISTINCT CASE WHEN s.setrole = 0 THEN 'the database' ELSE 'the role ' || quote_ident(pg_get_userbyid(s.setrole)) END, ', '), '')
FROM pg_db_role_setting s, unnest(s.setconfig) AS c
WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())) AND c = 'session_replication_role=replica'`

func (e *Examiner) replicaRoles(ctx context.Context, tx pgx.Tx, facts *thorough.PostgresFacts) error {
	return tx.QueryRow(ctx, replicaRolesSQL).Scan(&facts.ReplicaSessions)
}

// positionSample is how many of the newest events of each table the check reads. The
// newest IDs have the highest positions, because both grow with time, with few
// exceptions. A position of 2^61 or more counts as 2^61-1, because restored.sql moves the
// sequence no further.
const positionSample = 2000

var positionsSQL = `
SELECT (SELECT last_value FROM outbox_ordering_position), least(coalesce(max(ordering_position), 0), 2305843009213693951) FROM (` +
	stored.Places.Only(lives.StatePending, lives.StateHeld, lives.StateInFlight, lives.StateDead).Union(
		fmt.Sprintf("(SELECT ordering_position FROM {table} ORDER BY id DESC LIMIT %d)", positionSample)) + `) AS newest`

func (e *Examiner) positions(ctx context.Context, tx pgx.Tx, facts *thorough.PostgresFacts) error {
	var p thorough.Positions
	if err := tx.QueryRow(ctx, positionsSQL).Scan(&p.Next, &p.Highest); err != nil {
		return err
	}
	facts.Positions = &p
	return nil
}
