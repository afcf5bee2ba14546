package consumer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
)

// schemasSQL finds every schema with an outbox. The schemas whose confirm(uuid) the role may call come first, and among these the
// one on the search path. The query recognises an outbox by the function outbox_is_confirmed, because schemas of other
// programs may also have a function confirm(uuid). 2950 is the OID of the type uuid in every database. The result is
// one row, because every driver reads that in the same way.
const schemasSQL = `
SELECT COALESCE(pg_catalog.json_agg(c)::pg_catalog.text, '[]') FROM (
    SELECT s.nspname AS name,
        pg_catalog.has_schema_privilege(s.oid, 'USAGE') AND pg_catalog.has_function_privilege(f.oid, 'EXECUTE') AS allowed,
        pg_catalog.pg_function_is_visible(f.oid) AS visible
    FROM pg_catalog.pg_proc AS f JOIN pg_catalog.pg_namespace AS s ON s.oid OPERATOR(pg_catalog.=) f.pronamespace
    WHERE f.proname OPERATOR(pg_catalog.=) 'confirm' AND f.proargtypes OPERATOR(pg_catalog.=) '2950'::pg_catalog.oidvector
        AND EXISTS (SELECT FROM pg_catalog.pg_proc AS o WHERE o.pronamespace OPERATOR(pg_catalog.=) s.oid AND o.proname OPERATOR(pg_catalog.=) 'outbox_is_confirmed')
    ORDER BY allowed DESC, visible DESC, s.nspname
) AS c`

var errNoOutbox = errors.New("no schema has the function confirm of outboxd: this is not the database of the outbox, or its migrations are missing (outboxd migrate up)")

// candidate is a schema with an outbox.
type candidate struct {
	Name             string
	Allowed, Visible bool
}

// schema is the schema of the outbox.
type schema struct {
	given string                 // by the caller; "": it must be found
	found atomic.Pointer[string] // nil: not found yet
}

// find returns the quoted name of the outbox's schema. The first call, also the first after forget, looks for the
// schema with a query inside the task's transaction, because a pool may have only one connection.
func (s *schema) find(ctx context.Context, row func(context.Context, string, ...any) Row) (string, error) {
	if s.given != "" {
		return quote(s.given), nil
	}
	if found := s.found.Load(); found != nil {
		return *found, nil
	}
	candidates, err := candidates(ctx, row)
	if err != nil {
		return "", fmt.Errorf("find the schema of the outbox: %w", err)
	}
	name, err := choose(candidates)
	if err != nil {
		return "", fmt.Errorf("find the schema of the outbox: %w", err)
	}
	name = quote(name)
	s.found.Store(&name)
	return name, nil
}

// forget makes the next call of find look for the schema again, because the schema may have been renamed.
func (s *schema) forget() { s.found.Store(nil) }

func candidates(ctx context.Context, row func(context.Context, string, ...any) Row) (list []candidate, err error) {
	var text string
	if err := row(ctx, schemasSQL).Scan(&text); err != nil {
		return nil, err
	}
	return list, json.Unmarshal([]byte(text), &list)
}

// choose returns the schema of the outbox on the search path, or else of the only outbox
// that the role may use.
func choose(candidates []candidate) (string, error) {
	if len(candidates) == 0 {
		return "", errNoOutbox
	}
	first := candidates[0]
	if !first.Allowed {
		name := quote(first.Name)
		return "", fmt.Errorf("this role may not confirm: GRANT USAGE ON SCHEMA %s and GRANT EXECUTE ON FUNCTION %s.confirm are missing", name, name)
	}
	if !first.Visible && len(candidates) > 1 && candidates[1].Allowed {
		return "", fmt.Errorf("both %s and %s have an outbox: name the right one in consumer.Options.Schema", quote(first.Name), quote(candidates[1].Name))
	}
	return first.Name, nil
}

func quote(identifier string) string { return `"` + strings.ReplaceAll(identifier, `"`, `""`) + `"` }
