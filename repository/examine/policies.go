package examine

import (
	"context"

	"outboxd/domain/diagnosis/thorough"

	"github.com/jackc/pgx/v5"
)

// policiesSQL checks the roles that work for outboxd: the role of this session, the roles
// of deploy/postgres, and the owner of the tables, with whose rights triggers and
// functions run. Row-level policies do not apply to superusers and to roles with
// BYPASSRLS. They apply to the owner only if the table has FORCE ROW LEVEL SECURITY.
const policiesSQL = `
WITH ours AS (
    SELECT c.oid, c.relname, c.relowner, c.relforcerowsecurity
    FROM pg_class c
    WHERE c.relrowsecurity AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'outbox'::regclass)
      AND c.relname ~ '^(outbox|outbox_.*|inbox)$'
), kept AS (
    SELECT c.relname, r.rolname FROM ours c, pg_roles r
    WHERE (r.rolname = current_user OR r.oid = c.relowner
           OR r.rolname IN ('outboxd_relay', 'outboxd_worker', 'outboxd_api', 'outboxd_monitor', 'outboxd_operator'))
      AND NOT r.rolsuper AND NOT r.rolbypassrls AND (c.relforcerowsecurity OR NOT pg_has_role(r.oid, c.relowner, 'USAGE'))
      AND (has_any_column_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE') OR has_table_privilege(r.oid, c.oid, 'DELETE'))
)
SELECT coalesce(string_agg(DISTINCT quote_ident(relname), ', '), ''), coalesce(array_agg(DISTINCT quote_ident(rolname)), '{}') FROM kept`

func (e *Examiner) policies(ctx context.Context, tx pgx.Tx, facts *thorough.PostgresFacts) error {
	var r thorough.RowSecurity
	if err := tx.QueryRow(ctx, policiesSQL).Scan(&r.Tables, &r.Roles); err != nil {
		return err
	}
	facts.RowSecurity = &r
	return nil
}

// If a table is in a publication of logical replication and has no replica identity,
// PostgreSQL refuses to delete and to update its rows. outboxd's tables have a replica
// identity, unless somebody removed it.
const identitiesSQL = `
SELECT coalesce(string_agg(DISTINCT quote_ident(c.relname), ', '), '')
FROM pg_publication_tables t JOIN pg_class c ON c.relname = t.tablename AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = t.schemaname)
JOIN pg_publication p ON p.pubname = t.pubname
WHERE c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'outbox'::regclass) AND (p.pubdelete OR p.pubupdate)
  AND c.relname ~ '^(outbox|outbox_.*|inbox)$' AND c.relname <> 'outboxd_migrations'
  AND CASE c.relreplident WHEN 'f' THEN false WHEN 'n' THEN true
          WHEN 'd' THEN NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)
          ELSE NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisreplident) END`

func (e *Examiner) identities(ctx context.Context, tx pgx.Tx, facts *thorough.PostgresFacts) error {
	return tx.QueryRow(ctx, identitiesSQL).Scan(&facts.Unidentified)
}
