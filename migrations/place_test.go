package migrations_test

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/migrations"
	"outboxd/migrations/example"
	"outboxd/repository/postgres"
)

// within connects as an outboxd whose --database-schema is schema.
func within(t *testing.T, url, schema string) *postgres.Database {
	t.Helper()
	db, err := postgres.Open(t.Context(), postgres.Options{
		URL: url, Schema: schema, MaxConns: 2, ConnectTimeout: 10 * time.Second, Logger: servertest.Logger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// A service may have objects in public with names that outboxd uses too.
const others = `
CREATE TABLE public.users (id bigint PRIMARY KEY, name text);
CREATE TABLE public.inbox (message text);
CREATE TABLE public.notifications (id bigint PRIMARY KEY);
CREATE TABLE public.outbox (id bigserial PRIMARY KEY, topic text NOT NULL);
CREATE FUNCTION public.emit(text, jsonb) RETURNS text LANGUAGE sql AS $$ SELECT 'theirs' $$;
CREATE FUNCTION public.confirm(uuid) RETURNS text LANGUAGE sql AS $$ SELECT 'theirs' $$;
INSERT INTO public.users VALUES (1, 'ada');
INSERT INTO public.outbox (topic) VALUES ('theirs')`

func TestTablesOfOthersWithTheSameNamesStayAsTheyAre(t *testing.T) {
	t.Parallel()
	url := servertest.Database(t)
	db := schematest.Connect(t, url).SQL()
	exec(t, db, others)
	for _, set := range []migrations.Set{migrations.Core(), example.Migrations()} {
		if _, err := set.Up(t.Context(), db, servertest.Logger(t)); err != nil {
			t.Fatal(err)
		}
	}
	exec(t, db, "SELECT outboxd.emit('test:a', '{}', ordering_key => 'k')")
	exec(t, db, "SELECT outboxd.confirm(id) FROM outboxd.outbox")
	exec(t, db, "INSERT INTO public.outbox (topic) VALUES ('theirs')")
	for query, want := range map[string]int{
		"SELECT count(*) FROM outboxd.outbox":                       1,
		"SELECT count(*) FROM outboxd.inbox":                        1,
		"SELECT count(*) FROM public.outbox WHERE topic = 'theirs'": 2,
		"SELECT count(*) FROM public.users":                         1,
		"SELECT count(*) FROM public.inbox":                         0,
		"SELECT count(*) FROM outboxd_example.users":                0,
	} {
		if got := count(t, db, query); got != want {
			t.Errorf("%s: %d, want %d", query, got, want)
		}
	}
	takeBack(t, db, example.Migrations())
	takeBack(t, db, migrations.Core())
	if n := count(t, db, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"); n != 4 {
		t.Errorf("of four tables of others, %d are left", n)
	}
}

func TestTwoOutboxesInOneDatabase(t *testing.T) {
	t.Parallel()
	url := servertest.Database(t)
	one, two := within(t, url, "orders_outbox"), within(t, url, "billing_outbox")
	for _, db := range []*postgres.Database{one, two} {
		for _, set := range []migrations.Set{migrations.Core(), example.Migrations()} {
			if n, err := set.Up(t.Context(), db.SQL(), servertest.Logger(t)); err != nil || n == 0 {
				t.Fatalf("%s: %d, %v", db.Schema(), n, err)
			}
		}
	}
	exec(t, one.SQL(), "INSERT INTO billing_outbox_example.users (email, password_hash) VALUES ('ada@example.com', 'x')")
	exec(t, two.SQL(), "INSERT INTO orders_outbox_example.users (email, password_hash) VALUES ('ada@example.com', 'x')")
	exec(t, one.SQL(), "SELECT billing_outbox.emit('test:b', '{}') FROM generate_series(1, 3)")
	exec(t, two.SQL(), "SELECT orders_outbox.emit('test:o', '{}', ordering_key => 'k', in_commit_order => true)")
	for db, want := range map[*postgres.Database]int{one: 1, two: 3} {
		for _, table := range []string{"outbox", "outbox_entries"} {
			if got := count(t, db.SQL(), "SELECT count(*) FROM "+table); got != want {
				t.Errorf("%s of %s: %d rows, want %d", table, db.Schema(), got, want)
			}
		}
	}
	takeBack(t, one.SQL(), migrations.Core())
	takeBack(t, one.SQL(), example.Migrations())
	if got := count(t, two.SQL(), "SELECT count(*) FROM outbox"); got != 3 {
		t.Errorf("with the one gone, the other has %d events, want 3", got)
	}
	if got := count(t, two.SQL(), "SELECT count(*) FROM billing_outbox_example.users"); got != 1 {
		t.Errorf("with the one gone, the other's example has %d users, want 1", got)
	}
	if got := count(t, two.SQL(), "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'orders_outbox%'"); got != 0 {
		t.Errorf("%d schemas of the one are left", got)
	}
}

// takeBack reverts all migrations of a set.
func takeBack(t *testing.T, db *sql.DB, set migrations.Set) {
	t.Helper()
	for {
		more, err := set.Down(t.Context(), db, servertest.Logger(t))
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			return
		}
	}
}

// Up of the core refuses a schema that the example fills, and Up of the example a
// schema that the core fills.
func TestTheExampleAndTheCoreDoNotShareASchema(t *testing.T) {
	t.Parallel()
	url := servertest.Database(t)
	shop, guest := within(t, url, "shop"), within(t, url, "shop_example")
	if _, err := example.Migrations().Up(t.Context(), shop.SQL(), servertest.Logger(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := migrations.Core().Up(t.Context(), guest.SQL(), servertest.Logger(t)); err == nil || !strings.Contains(err.Error(), "somebody else's") {
		t.Errorf("an outboxd in the schema of an example: %v", err)
	}
	takeBack(t, shop.SQL(), example.Migrations())
	if _, err := migrations.Core().Up(t.Context(), guest.SQL(), servertest.Logger(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := example.Migrations().Up(t.Context(), shop.SQL(), servertest.Logger(t)); err == nil || !strings.Contains(err.Error(), "somebody else's") {
		t.Errorf("an example in the schema of an outboxd: %v", err)
	}
}

func TestASchemaThatIsNotOutboxdsIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		made string
		want []string
	}{
		"a table":          {`CREATE SCHEMA outboxd; CREATE TABLE outboxd.orders (id int)`, []string{`"outboxd"`, "it has orders ", "--database-schema"}},
		"a function":       {`CREATE SCHEMA outboxd; CREATE FUNCTION outboxd.emit() RETURNS int LANGUAGE sql AS 'SELECT 1'`, []string{"it has emit() ", "--database-schema"}},
		"a type":           {`CREATE SCHEMA outboxd; CREATE TYPE outboxd.mood AS ENUM ('good')`, []string{"it has mood ", "--database-schema"}},
		"an earlier build": {`CREATE TABLE public.outbox_migrations (id int); CREATE FUNCTION public.outbox_new_id() RETURNS uuid LANGUAGE sql AS 'SELECT gen_random_uuid()'`, []string{"earlier build", `"public"`, "--data-dir"}},
		"an earlier build in the schema": {`CREATE SCHEMA outboxd; CREATE TABLE outboxd.outbox_migrations (id int);
			CREATE FUNCTION outboxd.outbox_new_id() RETURNS uuid LANGUAGE sql AS 'SELECT gen_random_uuid()'`, []string{"earlier build", `"outboxd"`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := schematest.Connect(t, servertest.Database(t)).SQL()
			exec(t, db, c.made)
			const relations = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname IN ('public', 'outboxd')"
			before := count(t, db, relations)
			_, up := migrations.Core().Up(t.Context(), db, servertest.Logger(t))
			for what, err := range map[string]error{"Up": up, "Check": migrations.Core().Check(t.Context(), db)} {
				for _, want := range c.want {
					if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, migrations.ErrPending) {
						t.Errorf("%s: %v, want it to name %s", what, err, want)
					}
				}
			}
			if after := count(t, db, relations); after != before {
				t.Errorf("%d relations before, %d after", before, after)
			}
		})
	}
}

// As long as nothing is released, migrations are edited in place. So another build may
// have made a schema from other statements, and this build refuses it.
func TestASchemaOfAnotherBuildIsRefused(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]string{
		"other statements": `DO $$ BEGIN EXECUTE 'COMMENT ON TABLE outboxd_migrations IS ' ||
			quote_literal(regexp_replace(obj_description('outboxd_migrations'::regclass), '3=[0-9a-f]+', '3=0123456789ab')); END $$`,
		"no record": `COMMENT ON TABLE outboxd_migrations IS NULL`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := schematest.Connect(t, schematest.Database(t)).SQL()
			if err := migrations.Core().Check(t.Context(), db); err != nil {
				t.Fatal(err)
			}
			exec(t, db, spoil)
			_, up := migrations.Core().Up(t.Context(), db, servertest.Logger(t))
			check := migrations.Core().Check(t.Context(), db)
			for what, err := range map[string]error{"Up": up, "Check": check} {
				if err == nil || !strings.Contains(err.Error(), "another build of outboxd") || !strings.Contains(err.Error(), "--data-dir") {
					t.Fatalf("%s: %v, want it to name the other build and what to do", what, err)
				}
			}
			// The error contains a statement for people whose restore left out the
			// comments. After that statement the schema is accepted.
			_, cure, _ := strings.Cut(check.Error(), "run ")
			exec(t, db, cure)
			if err := migrations.Core().Check(t.Context(), db); err != nil {
				t.Error(err)
			}
		})
	}
}

// outboxd accepts an empty schema that exists already, as roles.sql makes it.
// Objects of an extension in it do not count.
func TestAnEmptySchemaIsTaken(t *testing.T) {
	t.Parallel()
	db := schematest.Connect(t, servertest.Database(t)).SQL()
	exec(t, db, "CREATE SCHEMA outboxd; CREATE EXTENSION pgcrypto SCHEMA outboxd")
	if _, err := migrations.Core().Up(t.Context(), db, servertest.Logger(t)); err != nil {
		t.Fatal(err)
	}
}

func TestARoleThatMayNotCreateSchemasIsToldWhatToDo(t *testing.T) {
	t.Parallel()
	url := servertest.HostileDatabase(t, servertest.Hostile{Role: []string{"search_path = 'elsewhere'"}})
	db := schematest.Connect(t, url).SQL()
	var role string
	if err := db.QueryRowContext(t.Context(), "SELECT current_user").Scan(&role); err != nil {
		t.Fatal(err)
	}
	exec(t, db, fmt.Sprintf("DO $$ BEGIN EXECUTE format('REVOKE CREATE ON DATABASE %%I FROM %s', current_database()); END $$", role))
	if _, err := migrations.Core().Up(t.Context(), db, servertest.Logger(t)); err == nil || !strings.Contains(err.Error(), `CREATE SCHEMA "outboxd" AUTHORIZATION`) {
		t.Errorf("Up: %v", err)
	}
}
