package repository_test

import (
	"strings"
	"testing"
	"time"

	"outboxd/repository/postgres"

	"outboxd/domain"
	"outboxd/repository"
	"outboxd/repository/repositorytest"
)

func TestAMissingCertificateIsNamed(t *testing.T) {
	t.Parallel()
	_, err := postgres.Open(t.Context(), postgres.Options{
		URL: "postgres://user:secret@host/db?sslmode=verify-full&sslrootcert=/nowhere/root.crt", ConnectTimeout: time.Second, Logger: repositorytest.Logger(t),
	})
	if domain.ErrorCode(err) != domain.CodeInvalid || !strings.Contains(err.Error(), "/nowhere/root.crt") || strings.Contains(err.Error(), "secret") {
		t.Errorf("Open: %v", err)
	}
}

// The schema that a role chooses stays its choice, for as long as the process runs.
func TestTheSearchPathIsReadOnce(t *testing.T) {
	t.Parallel()
	url := repositorytest.HostileDatabase(t, repositorytest.Hostile{Role: []string{"search_path = 'mine'"}, Database: []string{"search_path = 'theirs'"}})
	url, _, _ = strings.Cut(url, "&search_path")
	url, _, _ = strings.Cut(url, "?search_path")
	exec(t, repositorytest.Connect(t, url), "CREATE SCHEMA mine")
	db := repositorytest.Connect(t, url)
	exec(t, db, "ALTER ROLE CURRENT_USER SET search_path = 'public'")
	exec(t, db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
	conn := repository.Begin(t.Context(), db)
	defer conn.Rollback()
	if n := count(t, db, "SELECT count(*) WHERE current_schema() = 'mine'"); n != 1 {
		t.Error("the schema has changed under way")
	}
}
