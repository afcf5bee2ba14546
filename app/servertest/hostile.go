package servertest

import (
	"context"
	"fmt"
	"net/url"
	"testing"
)

// Hostile describes a database with a role and settings that make work hard for
// outboxd.
type Hostile struct {
	Encoding string   // "" means UTF8
	Role     []string // such as "statement_timeout = '300ms'", by ALTER ROLE
	Database []string // the same, by ALTER DATABASE
	// Superuser makes the role a superuser; otherwise it only owns its
	// database.
	Superuser bool
}

// HostileDatabase is like Database, but with a new role, and with the settings that
// h describes.
func HostileDatabase(t testing.TB, h Hostile) string {
	t.Helper()
	admin, name, err := shared(t).nameDatabase(t.Context())
	if err != nil {
		t.Fatalf("make test database: %v", err)
	}
	if h.Encoding == "" {
		h.Encoding = "UTF8"
	}
	rights := "NOSUPERUSER"
	if h.Superuser {
		rights = "SUPERUSER"
	}
	role := name + "_role"
	run := func(address string, statements ...string) {
		t.Helper()
		for _, statement := range statements {
			if err := Exec(context.WithoutCancel(t.Context()), address, statement); err != nil {
				t.Fatalf("%s: %v", statement, err)
			}
		}
	}
	run(admin, "CREATE ROLE "+role+" LOGIN "+rights,
		fmt.Sprintf("CREATE DATABASE %s OWNER %s TEMPLATE template0 ENCODING '%s' LC_COLLATE 'C' LC_CTYPE 'C'", name, role, h.Encoding))
	t.Cleanup(func() { run(admin, "DROP DATABASE "+name+" WITH (FORCE)", "DROP ROLE "+role) })
	for _, setting := range h.Role {
		run(admin, "ALTER ROLE "+role+" SET "+setting)
	}
	for _, setting := range h.Database {
		run(admin, "ALTER DATABASE "+name+" SET "+setting)
	}
	u := Parse(t, withDatabase(t, admin, name))
	u.User = url.User(role)
	return withQuery(t, u.String(), "search_path", Schema)
}
