package migrations_test

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/postgrestest"
	"outboxd/migrations"
)

// hostile are settings of a role or a database that may change what SQL means, or how objects are stored.
var hostile = []string{
	"standard_conforming_strings = off", "backslash_quote = off", "escape_string_warning = off", "transform_null_equals = on", "array_nulls = off",
	"quote_all_identifiers = on", "check_function_bodies = off", "client_min_messages = error", "default_toast_compression = pglz",
	"DateStyle = 'German, DMY'", "IntervalStyle = sql_standard", "TimeZone = 'Pacific/Chatham'", "bytea_output = escape", "extra_float_digits = -5",
	"default_transaction_isolation = serializable", "row_security = off", "plan_cache_mode = force_generic_plan", "jit_above_cost = 0",
	"enable_seqscan = off", "plpgsql.variable_conflict = use_column", "plpgsql.extra_errors = 'all'", "plpgsql.extra_warnings = 'all'",
	"session_preload_libraries = 'plpgsql'", "default_statistics_target = 1", "gin_pending_list_limit = 64", "xmloption = document",
}

// schemaUnder makes a database with the given settings and migrates it. The connection sets only the search_path itself, so
// all settings of the database apply.
func schemaUnder(t *testing.T, settings ...string) (url string, db *sql.DB) {
	t.Helper()
	url = servertest.Database(t)
	set := schematest.Connect(t, url).SQL()
	for _, setting := range settings {
		if _, err := set.ExecContext(t.Context(), fmt.Sprintf("DO $$ BEGIN EXECUTE format('ALTER DATABASE %%I SET %s', current_database()); END $$", strings.ReplaceAll(setting, "'", "''"))); err != nil {
			t.Fatalf("%s: %v", setting, err)
		}
	}
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	db = stdlib.OpenDB(*config)
	t.Cleanup(func() { _ = db.Close() })
	if _, err := migrations.Core().Up(t.Context(), db, servertest.Logger(t)); err != nil {
		t.Fatal(err)
	}
	return url, db
}

var restriction = regexp.MustCompile(`(?m)^\\(un)?restrict .*\n`) // new with every dump

// dump resets the settings of the database, and returns its schema as text.
func dump(t *testing.T, url string) string {
	t.Helper()
	exec(t, schematest.Connect(t, url).SQL(), "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET ALL', current_database()); END $$")
	text := postgrestest.Tool(t, url, "pg_dump", "--schema-only", "--no-owner", "--no-tablespaces")
	text = restriction.ReplaceAllString(text, "")
	// In the bodies of functions the schema's name may be quoted or not. Both mean
	// the same name.
	return strings.ReplaceAll(text, `"outboxd"`, "outboxd")
}

// The schema is the same, whatever the settings of the session that creates it.
func TestTheSchemaDoesNotDependOnTheSessionThatMakesIt(t *testing.T) {
	t.Parallel()
	ordinary, _ := schemaUnder(t)
	want := dump(t, ordinary)
	for _, part := range []string{"CREATE TABLE", "CREATE FUNCTION", "CREATE TRIGGER", "CHECK (", "PRIMARY KEY"} {
		if !strings.Contains(want, part) {
			t.Fatalf("the dump has no %s", part)
		}
	}
	for name, settings := range map[string][]string{
		"all at once":   hostile,
		"string escape": {"standard_conforming_strings = off"},
		"tablespace":    {"default_tablespace = '" + tablespace(t, ordinary) + "'"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, db := schemaUnder(t, settings...)
			exec(t, db, "SELECT outboxd.emit('a:b', '{}', ordering_key => 'k')") // and it works there
			got := dump(t, url)
			if got != want {
				t.Errorf("the schema is another one:\n%s", difference(want, got))
			}
		})
	}
}

// tablespace makes a tablespace inside the data directory and returns its name; pg_default if PostgreSQL cannot do that.
func tablespace(t *testing.T, url string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	if _, err := conn.Exec(t.Context(), "SET allow_in_place_tablespaces = on"); err != nil {
		return "pg_default" // before PostgreSQL 15 a tablespace needs a folder outside the data directory
	}
	if _, err := conn.Exec(t.Context(), "CREATE TABLESPACE elsewhere LOCATION ''"); err != nil {
		t.Fatal(err)
	}
	return "elsewhere"
}

// difference lists lines that only one of the texts has.
func difference(want, got string) string {
	var lines []string
	only := func(mark, text, other string) {
		for line := range strings.Lines(text) {
			if !strings.Contains(other, line) {
				lines = append(lines, mark+line)
			}
		}
	}
	only("- ", want, got)
	only("+ ", got, want)
	return strings.Join(lines, "")
}

// A producer and a consumer are sessions of other services, with whatever settings their roles have. The functions that
// they call work in the same way under each setting, and under all settings at once.
func TestProducersAndConsumersMayHaveAnySettings(t *testing.T) {
	t.Parallel()
	url := servertest.Database(t)
	exec(t, schematest.Connect(t, url).SQL(), "SELECT 1")
	if _, err := migrations.Core().Up(t.Context(), schematest.Connect(t, url).SQL(), servertest.Logger(t)); err != nil {
		t.Fatal(err)
	}
	list := append([]string{strings.Join(hostile, "; SET ")}, hostile...)
	for _, path := range []string{"''", "pg_catalog", "public, pg_temp"} {
		list = append(list, "search_path = "+path)
	}
	for _, setting := range list {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			conn, err := pgx.Connect(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
			for _, statement := range []string{
				"SET " + strings.ReplaceAll(setting, "SET session_preload_libraries = 'plpgsql'; ", ""),
				"BEGIN",
				"SELECT S.emit('a:b', '{\"a\":1}', headers => '{\"h\":\"1\"}', queue => 'q', ordering_key => 'k', in_commit_order => true)",
				"INSERT INTO S.outbox (event_type, payload, headers) VALUES ('a:b', 'x', '{\"h\":\"1\"}')",
				"SELECT S.confirm(id) FROM S.outbox WHERE ordering_key = 'k'",
				"COMMIT",
			} {
				if _, err := conn.Exec(t.Context(), strings.ReplaceAll(statement, "S.", servertest.Schema+".")); err != nil {
					t.Fatalf("%s: %v", statement, err)
				}
			}
		})
	}
}
