package examine

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/repository/stored"
)

// What a restore, an upgrade or a person may leave behind: docs/backup.md.

const triggersSQL = `
SELECT coalesce(string_agg(wanted.name || ' of ' || wanted.relation, ', ' ORDER BY wanted.name), '')
FROM (VALUES ('outbox', 'outbox_written'), ('outbox', 'outbox_take_position'), ('outbox', 'outbox_within_bounds'), ('inbox', 'outbox_confirmed')) AS wanted (relation, name)
WHERE NOT EXISTS (SELECT FROM pg_trigger t
    WHERE t.tgrelid = wanted.relation::regclass AND t.tgname = wanted.name AND t.tgenabled IN ('O', 'A'))`

// A trigger that is ENABLE ALWAYS would fire for what a subscription of logical replication applies, too, and enter each
// event into the account a second time. So ours are not, except the one that only refuses.
const alwaysSQL = `
SELECT coalesce(string_agg(tgname, ', ' ORDER BY tgname), '') FROM pg_trigger
WHERE tgrelid IN ('outbox'::regclass, 'inbox'::regclass) AND tgenabled = 'A' AND NOT tgisinternal AND tgname <> 'outbox_within_bounds'`

func (e *Examiner) triggers(ctx context.Context, tx pgx.Tx) (found []domain.Finding, err error) {
	var off, always string
	if err := tx.QueryRow(ctx, triggersSQL).Scan(&off); err != nil {
		return nil, err
	}
	if err := tx.QueryRow(ctx, alwaysSQL).Scan(&always); err != nil {
		return nil, err
	}
	if off != "" {
		found = append(found, domain.Finding{
			Code: "triggers-off", Level: domain.FindingWarning,
			Found:       "triggers are off or missing: " + off,
			Consequence: "events wake no relay and are not in the account, those that cannot be relayed are not refused, and confirmations pass no turn on",
			Remedy:      "ALTER TABLE outbox ENABLE TRIGGER USER, ENABLE ALWAYS TRIGGER outbox_within_bounds; ALTER TABLE inbox ENABLE TRIGGER USER; then deploy/postgres/restored.sql",
		})
	}
	if always != "" {
		found = append(found, domain.Finding{
			Code: "triggers-always", Level: domain.FindingNote,
			Found:       "triggers fire for replicated rows, too: " + always,
			Consequence: "where this database subscribes to another one's outbox, each event is in the account twice and turns are passed on twice",
			Remedy:      "ALTER TABLE outbox ENABLE TRIGGER USER, ENABLE ALWAYS TRIGGER outbox_within_bounds; ALTER TABLE inbox ENABLE TRIGGER USER",
		})
	}
	return found, nil
}

const replicaRolesSQL = `
SELECT coalesce(string_agg(DISTINCT CASE WHEN s.setrole = 0 THEN 'the database' ELSE 'the role ' || quote_ident(pg_get_userbyid(s.setrole)) END, ', '), '')
FROM pg_db_role_setting s, unnest(s.setconfig) AS c
WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())) AND c = 'session_replication_role=replica'`

func (e *Examiner) replicaRoles(ctx context.Context, tx pgx.Tx) ([]domain.Finding, error) {
	var who string
	if err := tx.QueryRow(ctx, replicaRolesSQL).Scan(&who); err != nil || who == "" {
		return nil, err
	}
	return one(domain.Finding{
		Code: "triggers-bypassed", Level: domain.FindingWarning,
		Found:       "session_replication_role is replica for " + who,
		Consequence: "no trigger fires in these sessions: their events wake no relay and are not in the account, those with an ordering key are refused, and their confirmations pass no turn on",
		Remedy:      "ALTER ROLE … RESET session_replication_role; a replication tool needs it, a producer or consumer must not have it",
	}), nil
}

// positionSample is how many of the newest events of each table are looked at: IDs are ordered by time, and so are
// positions, more or less.
const positionSample = 2000

var positionsSQL = `
SELECT (SELECT last_value FROM outbox_ordering_position), coalesce(max(ordering_position), 0) FROM (` +
	stored.Places.Only(domain.StatePending, domain.StateHeld, domain.StateInFlight, domain.StateDead).Union(
		fmt.Sprintf("(SELECT ordering_position FROM {table} ORDER BY id DESC LIMIT %d)", positionSample)) + `) AS newest`

func (e *Examiner) positions(ctx context.Context, tx pgx.Tx) ([]domain.Finding, error) {
	var next, highest int64
	if err := tx.QueryRow(ctx, positionsSQL).Scan(&next, &highest); err != nil || next >= highest {
		return nil, err
	}
	return one(domain.Finding{
		Code: "positions-behind", Level: domain.FindingWarning,
		Found:       fmt.Sprintf("the sequence outbox_ordering_position is at %d, and there is an event with position %d", next, highest),
		Consequence: "a new event goes before older ones of its ordering key",
		Remedy:      "stop the producers and run deploy/postgres/restored.sql; logical replication, for one, does not carry sequences",
	}), nil
}
