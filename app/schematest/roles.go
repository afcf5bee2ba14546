package schematest

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"outboxd/app/servertest"
	"outboxd/app/servertest/postgrestest"
	"outboxd/migrations"
	"outboxd/repository/postgres"
)

// RoleDatabase starts a PostgreSQL for one test. RoleDatabase sets up the roles and grants
// of deploy/postgres and lets the schema's owner migrate, as those files describe.
// RoleDatabase returns a function that returns the URL with which a role connects. The
// role "" is the superuser.
func RoleDatabase(t testing.TB) func(role string) string {
	t.Helper()
	return Roles(t, postgrestest.Start(t).URL())
}

// Roles does the same as RoleDatabase in an existing, empty database. admin is the
// superuser's URL of that database.
func Roles(t testing.TB, admin string) func(role string) string {
	t.Helper()
	as := RolesOf(t, admin)
	for range 2 { // each file may be run again
		RunDeployed(t, admin, "roles.sql")
	}
	owner, err := postgres.Open(context.Background(), postgres.Options{
		URL: as("outboxd_owner"), MaxConns: 4, ConnectTimeout: 30 * time.Second, Logger: servertest.Logger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	if _, err := migrations.Core().Up(t.Context(), owner.SQL(), servertest.Logger(t)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		RunDeployed(t, as("outboxd_owner"), "grants.sql")
	}
	return as
}

// ExampleRoles adds the example, with its role and grants, to a database that Roles
// has set up.
func ExampleRoles(t testing.TB, as func(role string) string) {
	t.Helper()
	for range 2 {
		RunDeployed(t, as(""), "example/roles.sql")
	}
	Example(t, Connect(t, as("outboxd_owner")))
	for range 2 {
		RunDeployed(t, as("outboxd_owner"), "example/grants.sql")
	}
}

// RolesOf returns the same function as Roles, and changes nothing: the roles must exist
// in the database.
func RolesOf(t testing.TB, admin string) func(role string) string {
	t.Helper()
	return func(role string) string {
		if role == "" {
			return admin
		}
		u, err := url.Parse(admin)
		if err != nil {
			t.Fatalf("address of test server: %v", err)
		}
		u.User = url.User(role)
		return u.String()
	}
}

// RunDeployed runs an SQL file of deploy/postgres.
func RunDeployed(t testing.TB, address, file string) {
	t.Helper()
	script, err := os.ReadFile(filepath.Join(root(t), "deploy", "postgres", file))
	if err != nil {
		t.Fatal(err)
	}
	servertest.Execute(t, address, string(script))
}

// root returns the folder of the module.
func root(t testing.TB) string {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			t.Fatal("the test runs outside the module")
		}
		folder = parent
	}
}
