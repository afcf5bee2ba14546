package repository_test

import (
	"strings"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/postgrestest"
	"outboxd/repository/postgres"
)

// Behind a pooler a statement that returns rows has a transaction of its own. If
// that fails only at its commit, the rows report the error.
func TestReadingRowsToTheirEndReportsTheCommit(t *testing.T) {
	t.Parallel()
	url := schematest.Database(t)
	direct := schematest.Connect(t, url)
	for _, statement := range []string{
		"CREATE TABLE public.late (n int)",
		"CREATE FUNCTION public.late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused at the end'; END $$",
		"CREATE CONSTRAINT TRIGGER late AFTER INSERT ON public.late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.late()",
	} {
		if _, err := direct.SQL().ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	pooled, err := postgres.Open(t.Context(), postgres.Options{
		URL: postgrestest.PgBouncer(t, url), MaxConns: 2, ConnectTimeout: 10 * time.Second, ExecMode: "cache_describe", Logger: servertest.Logger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pooled.Close)
	rows, err := pooled.SQL().QueryContext(t.Context(), "INSERT INTO public.late VALUES (1) RETURNING n")
	if err == nil {
		defer rows.Close()
		for rows.Next() {
			continue
		}
		err = rows.Err()
	}
	if err == nil || !strings.Contains(err.Error(), "refused at the end") {
		t.Errorf("a COMMIT that failed: %v", err)
	}
}
