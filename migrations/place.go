package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// place says in which schema a set of migrations is applied. The schema may not exist yet.
// Outboxd's schema is the first on the search_path of the sessions; the name of the
// example's schema is derived from it.
type place struct {
	set     Set
	name    string
	exists  bool
	creates bool   // this role may create schemas
	ours    bool   // the schema has the set's table of migrations
	foreign string // an object in the schema, of another program unless ours; "": none
	earlier string // a schema that an earlier build filled; "": none
	comment string // the comment on the set's table of migrations; see fingerprints
}

// Objects of extensions are ignored. Earlier builds of outboxd recorded their migrations in a table with another
// name, in the first schema of the search_path.
const placeSQL = `
SELECT p.name, n.oid IS NOT NULL, has_database_privilege(current_database(), 'CREATE'),
    EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND c.relname = $2),
    coalesce((SELECT min(o.name) FROM (
        SELECT oid, relname::text, 'pg_class'::regclass FROM pg_class WHERE relnamespace = n.oid
        UNION ALL SELECT oid, proname || '()', 'pg_proc'::regclass FROM pg_proc WHERE pronamespace = n.oid
        UNION ALL SELECT oid, typname::text, 'pg_type'::regclass FROM pg_type WHERE typnamespace = n.oid
    ) AS o (id, name, catalog)
    WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = o.catalog AND d.objid = o.id AND d.deptype IN ('e', 'i'))), ''),
    coalesce((SELECT min(m.nspname::text) FROM pg_namespace m JOIN pg_class c ON c.relnamespace = m.oid JOIN pg_proc f ON f.pronamespace = m.oid
        WHERE c.relname = 'outbox_migrations' AND f.proname = 'outbox_new_id'), ''),
    coalesce((SELECT obj_description(c.oid, 'pg_class') FROM pg_class c WHERE c.relnamespace = n.oid AND c.relname = $2), '')
FROM (SELECT (parse_ident(current_setting('search_path'), false))[1] || $1) AS p (name) LEFT JOIN pg_namespace n ON n.nspname = p.name`

func (s Set) findPlace(ctx context.Context, db interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
},
) (p place, err error) {
	var name sql.NullString
	err = db.QueryRowContext(ctx, placeSQL, s.Suffix, s.Table).Scan(&name, &p.exists, &p.creates, &p.ours, &p.foreign, &p.earlier, &p.comment)
	if err == nil && !name.Valid {
		err = errors.New("the search_path is empty")
	}
	if err != nil {
		return place{}, fmt.Errorf("look at the schema of outboxd: %w", err)
	}
	p.set, p.name = s, name.String
	return p, nil
}

// table is the name of the table that records the migrations.
func (p place) table() string { return quote(p.name) + "." + quote(p.set.Table) }

// refuse checks whether outboxd may use this schema: nil if it may, otherwise an error with the reason.
func (p place) refuse() error {
	switch {
	case p.ours:
		return nil
	case p.earlier != "":
		return fmt.Errorf("an earlier build of outboxd filled the schema %s of this database, and this build does not read it: "+
			"give outboxd another database (or, where it runs its own, another --data-dir), or drop what it made there and start again", quote(p.earlier))
	case p.foreign != "":
		return fmt.Errorf("the schema %s is somebody else's: it has %s and no table %s; choose another by --database-schema", quote(p.name), p.foreign, p.set.Table)
	case !p.exists && !p.creates:
		return fmt.Errorf("the schema %s does not exist, and this role may not create it: CREATE SCHEMA %[1]s AUTHORIZATION the role that migrates, as the files of deploy/postgres do", quote(p.name))
	default:
		return nil
	}
}

// makePlace checks whether outboxd may use the schema, and then creates it if it is missing.
func (s Set) makePlace(ctx context.Context, conn *sql.Conn) error {
	p, err := s.findPlace(ctx, conn)
	if err != nil {
		return err
	}
	if err := p.refuse(); err != nil || p.exists {
		return err
	}
	if _, err := conn.ExecContext(ctx, "CREATE SCHEMA IF NOT EXISTS "+quote(p.name)); err != nil {
		return fmt.Errorf("create the schema %s: %w", quote(p.name), err)
	}
	return nil
}

// clearPlace drops the set's table of migrations if no migration is applied any more, and then the schema if
// this role may create it again.
func (s Set) clearPlace(ctx context.Context, conn *sql.Conn) error {
	p, err := s.findPlace(ctx, conn)
	if err != nil || !p.ours {
		return err
	}
	applied, err := p.appliedAt(ctx, conn)
	if err != nil || len(withoutFirst(applied)) > 0 {
		return err
	}
	statements := []string{"DROP TABLE " + p.table()}
	if p.creates {
		statements = append(statements, "DROP SCHEMA "+quote(p.name))
	}
	for _, statement := range statements {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", strings.ToLower(statement), err)
		}
	}
	return nil
}

func quote(identifier string) string { return `"` + strings.ReplaceAll(identifier, `"`, `""`) + `"` }
