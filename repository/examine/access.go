package examine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/repository"
)

// Making a partition takes owning the parent, and CREATE on the schema.
const ownRightsSQL = `
SELECT quote_ident(n.nspname), quote_ident(current_user), pg_has_role(c.relowner, 'USAGE'), has_schema_privilege(n.oid, 'CREATE')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = 'outbox_sent'::regclass`

func (e *Examiner) ownRights(ctx context.Context, tx pgx.Tx) ([]domain.Finding, error) {
	var schema, role string
	var owns, creates bool
	if err := tx.QueryRow(ctx, ownRightsSQL).Scan(&schema, &role, &owns, &creates); err != nil || owns && creates {
		return nil, err
	}
	return one(domain.Finding{
		Code: "relay-rights", Level: domain.FindingNote,
		Found:       fmt.Sprintf("the role %s does not own outbox_sent, or may not CREATE in the schema %s", role, schema),
		Consequence: "a relay that connects as this role cannot make the history's partitions; for the other roles it is as it should be",
		Remedy:      fmt.Sprintf("ALTER TABLE %s.outbox_sent OWNER TO %s, with its partitions; GRANT CREATE ON SCHEMA %[1]s TO %[2]s", schema, role),
	}), nil
}

// The columns are those that emit writes, since a right may be for some of them
// only. A right on the table is one on each.
const producerSQL = `
SELECT quote_ident(n.nspname), quote_ident(r.rolname),
       has_schema_privilege(r.oid, n.oid, 'USAGE'), (SELECT bool_and(has_column_privilege(r.oid, c.oid, name, 'INSERT')) FROM unnest(ARRAY[
           'id', 'event_type', 'payload', 'headers', 'queue', 'available_at', 'max_retry', 'timeout_seconds', 'deadline',
           'retention_seconds', 'unique_seconds', 'ordering_key']) AS name),
       coalesce((SELECT bool_and(has_function_privilege(r.oid, p.oid, 'EXECUTE')) FROM pg_proc p
                 WHERE p.pronamespace = n.oid AND p.proname IN ('emit', 'outbox_new_id', 'lock_key')), false)
FROM pg_roles r, pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE r.rolname = $1 AND c.oid = 'outbox'::regclass`

func (e *Examiner) producer(ctx context.Context, tx pgx.Tx) ([]domain.Finding, error) {
	var schema, role string
	var usage, insert, execute bool
	err := tx.QueryRow(ctx, producerSQL, e.o.ProducerRole).Scan(&schema, &role, &usage, &insert, &execute)
	if errors.Is(err, pgx.ErrNoRows) {
		return one(domain.Finding{
			Code: "producer-unknown", Level: domain.FindingWarning,
			Found:       "there is no role " + legible(e.o.ProducerRole),
			Consequence: "the producer cannot connect",
			Remedy:      "CREATE ROLE … LOGIN, or give the right name with --producer-role",
		}), nil
	}
	if err != nil {
		return nil, err
	}
	var lacks, grants []string
	for _, right := range []struct {
		has         bool
		name, grant string
	}{
		{usage, "USAGE on the schema " + schema, "GRANT USAGE ON SCHEMA " + schema + " TO " + role},
		{insert, "INSERT on outbox", "GRANT INSERT ON " + schema + ".outbox TO " + role},
		{execute, "EXECUTE on emit, outbox_new_id and lock_key", fmt.Sprintf(
			"GRANT EXECUTE ON FUNCTION %s.emit, %[1]s.outbox_new_id, %[1]s.lock_key TO %s", schema, role)},
	} {
		if !right.has {
			lacks, grants = append(lacks, right.name), append(grants, right.grant)
		}
	}
	if len(lacks) == 0 {
		return nil, nil
	}
	return one(domain.Finding{
		Code: "producer-rights", Level: domain.FindingWarning,
		Found:       "the role " + role + " lacks " + strings.Join(lacks, ", "),
		Consequence: "its transactions fail where they write an event",
		Remedy:      strings.Join(grants, "; "),
	}), nil
}

// pooler compares the process ID that the connection was told when it began with
// the one that answers: something in between makes one up.
func (e *Examiner) pooler(ctx context.Context, tx pgx.Tx) ([]domain.Finding, error) {
	var pid uint32
	if err := tx.QueryRow(ctx, `SELECT pg_backend_pid()`).Scan(&pid); err != nil || pid == tx.Conn().PgConn().PID() {
		return nil, err
	}
	return one(domain.Finding{
		Code: "pooler", Level: domain.FindingNote,
		Found:       "a pooler such as PgBouncer stands between outboxd and PostgreSQL",
		Consequence: "in transaction mode prepared statements, LISTEN and the housekeeper's lock do not work through it",
		Remedy:      "--database-exec-mode=cache_describe, and --relay-listen-url with a URL that leads past it",
	}), nil
}

// listening tries whether what the pool notifies arrives where relays listen.
func (e *Examiner) listening(ctx context.Context) ([]domain.Finding, error) {
	err := repository.NewPresence(e.db, e.o.ListenURL).TryListening(ctx)
	if err == nil || ctx.Err() != nil {
		return nil, err
	}
	found := "notifications do not arrive where relays listen"
	if domain.ErrorCode(err) == domain.CodeUnavailable {
		found = "the connection at which relays listen cannot be made"
	}
	return one(domain.Finding{
		Code: "listen-in-vain", Level: domain.FindingWarning,
		Found:       found,
		Consequence: "relays poll: an event after a pause waits up to --relay-poll-without-listen (500 ms), and an idle relay asks the database more often",
		Remedy:      "give --relay-listen-url a URL that leads past PgBouncer to the same database, or say --relay-listen=off",
	}), nil
}
