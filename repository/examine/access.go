package examine

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/domain/diagnosis/thorough"
	"outboxd/repository"
)

// To make a partition, a role must own the parent table and have CREATE on the
// schema.
const ownRightsSQL = `
SELECT quote_ident(n.nspname), quote_ident(current_user), pg_has_role(c.relowner, 'USAGE'), has_schema_privilege(n.oid, 'CREATE')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = 'outbox_sent'::regclass`

func (e *Examiner) ownRights(ctx context.Context, tx pgx.Tx, facts *thorough.PostgresFacts) error {
	var o thorough.Ownership
	if err := tx.QueryRow(ctx, ownRightsSQL).Scan(&o.Schema, &o.Role, &o.Owns, &o.Creates); err != nil {
		return err
	}
	facts.Ownership = &o
	return nil
}

// producerSQL checks the INSERT right for each column that emit writes, because a right
// may be given for some columns only. A right for the whole table covers every column.
const producerSQL = `
SELECT quote_ident(n.nspname), quote_ident(r.rolname),
       has_schema_privilege(r.oid, n.oid, 'USAGE'), (SELECT bool_and(has_column_privilege(r.oid, c.oid, name, 'INSERT')) FROM unnest(ARRAY[
           'id', 'event_type', 'payload', 'headers', 'queue', 'available_at', 'max_retry', 'timeout_seconds', 'deadline',
           'retention_seconds', 'unique_seconds', 'ordering_key']) AS name),
       coalesce((SELECT bool_and(has_function_privilege(r.oid, p.oid, 'EXECUTE')) FROM pg_proc p
                 WHERE p.pronamespace = n.oid AND p.proname IN ('emit', 'lock_key', 'outbox_new_id', 'outbox_within_bounds', 'outbox_is_blank')), false)
FROM pg_roles r, pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE r.rolname = $1 AND c.oid = 'outbox'::regclass`

func (e *Examiner) producer(ctx context.Context, tx pgx.Tx, facts *thorough.PostgresFacts) error {
	p := thorough.Producer{Name: legible(e.o.ProducerRole), Exists: true}
	err := tx.QueryRow(ctx, producerSQL, e.o.ProducerRole).Scan(&p.Schema, &p.Role, &p.Usage, &p.Insert, &p.Execute)
	if errors.Is(err, pgx.ErrNoRows) {
		p.Exists, err = false, nil
	}
	if err != nil {
		return err
	}
	facts.Producer = &p
	return nil
}

// pooler looks for a pooler in the connection: it compares the process ID that the server
// announced when the connection began with the ID of the session that answers now. A
// pooler announces a process ID that it has invented.
func (e *Examiner) pooler(ctx context.Context, tx pgx.Tx, facts *thorough.PostgresFacts) error {
	var pid uint32
	if err := tx.QueryRow(ctx, `SELECT pg_backend_pid()`).Scan(&pid); err != nil {
		return err
	}
	facts.Pooler = pid != tx.Conn().PgConn().PID()
	return nil
}

// listening opens a connection as relays do to LISTEN, and reports whether a notification that
// is sent through the pool reaches it.
func (e *Examiner) listening(ctx context.Context) (*thorough.Listening, error) {
	err := repository.NewPresence(e.db, e.o.ListenURL).TryListening(ctx)
	if ctx.Err() != nil {
		return nil, err
	}
	return &thorough.Listening{Arrives: err == nil, Connected: domain.ErrorCode(err) != domain.CodeUnavailable}, nil
}
