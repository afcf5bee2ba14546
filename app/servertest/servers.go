package servertest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"outboxd/app/embedded"
)

// redisDatabases is how many tests of one binary can have a Redis database at the same time.
const redisDatabases = 512

// servers are the PostgreSQL and the Redis that the tests of one binary share.
type servers struct {
	home *home

	mu              sync.Mutex
	postgres, redis *embedded.Servers
	databases       int               // made so far
	models          map[string]*model // by name
	numbers         []int             // of Redis databases that are free again
	fresh           int               // first number never used
}

// Schema is the name of the schema of outboxd's tables. Schema is the default of
// --database-schema.
const Schema = "outboxd"

// Database returns the URL of an empty database that no other test uses. The URL sets the search path to Schema,
// even before that schema exists. So a test's own connections find outboxd's tables without the schema's name;
// outboxd itself ignores the search path. At the end of the test the database is dropped, and open connections are
// closed.
func Database(t testing.TB) string {
	t.Helper()
	admin, name, err := shared(t).newDatabase(t.Context(), "template0")
	return handOut(t, admin, name, err)
}

// handOut returns the URL of a database that was just made, and drops the database
// at the end of the test.
func handOut(t testing.TB, admin, name string, err error) string {
	t.Helper()
	if err != nil {
		t.Fatalf("make test database: %v", err)
	}
	t.Cleanup(func() {
		if err := Exec(context.Background(), admin, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("drop test database: %v", err)
		}
	})
	return withQuery(t, withDatabase(t, admin, name), "search_path", Schema)
}

// Redis returns the URL of an empty Redis database that no other test uses; it is emptied at the end of the test. The
// binary's other tests use the same Redis server, so they share its scripts, its channels and its identity. For a
// server of its own a test uses package redistest.
func Redis(t testing.TB) string {
	t.Helper()
	all := shared(t)
	address, number, err := all.newRedis(t.Context())
	if err != nil {
		t.Fatalf("find Redis database: %v", err)
	}
	address = withQuery(t, address, "db", fmt.Sprint(number))
	t.Cleanup(func() {
		if err := Do(context.Background(), address, "FLUSHDB"); err != nil {
			t.Errorf("empty Redis database: %v", err)
			return
		}
		all.freeRedis(number)
	})
	return address
}

// newDatabase makes a copy of the given database, which must have no connections.
func (s *servers) newDatabase(ctx context.Context, like string) (admin, name string, err error) {
	if admin, name, err = s.nameDatabase(ctx); err != nil {
		return "", "", err
	}
	return admin, name, Exec(ctx, admin, "CREATE DATABASE "+name+" TEMPLATE "+like)
}

// nameDatabase starts the shared PostgreSQL if it does not run yet, and returns its URL and
// a name that no database of this binary has had.
func (s *servers) nameDatabase(ctx context.Context) (admin, name string, err error) {
	s.mu.Lock()
	if s.postgres == nil {
		s.postgres, err = embedded.Start(context.WithoutCancel(ctx), embedded.Options{DataDir: s.home.folder(), Postgres: true, Ephemeral: true})
	}
	if err != nil {
		s.mu.Unlock()
		return "", "", err
	}
	defer s.mu.Unlock()
	s.databases++
	return s.postgres.DatabaseURL(), fmt.Sprintf("test_%d", s.databases), nil
}

func (s *servers) newRedis(ctx context.Context) (address string, number int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.redis == nil {
		s.redis, err = embedded.Start(context.WithoutCancel(ctx), embedded.Options{DataDir: s.home.folder(), Redis: true, Ephemeral: true})
		if err != nil {
			return "", 0, err
		}
		if s.redis.Forgetful() {
			return "", 0, errors.New("the tests need redis-server or valkey-server")
		}
	}
	if n := len(s.numbers); n > 0 {
		number = s.numbers[n-1]
		s.numbers = slices.Delete(s.numbers, n-1, n)
		return s.redis.RedisURL(), number, nil
	}
	if s.fresh == redisDatabases {
		return "", 0, fmt.Errorf("all %d databases are in use", redisDatabases)
	}
	s.fresh++
	return s.redis.RedisURL(), s.fresh - 1, nil
}

func (s *servers) freeRedis(number int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.numbers = append(s.numbers, number)
}

func (s *servers) close(ctx context.Context) error {
	var errs []error
	for _, running := range []*embedded.Servers{s.postgres, s.redis} {
		if running != nil {
			errs = append(errs, running.Close(ctx))
		}
	}
	return errors.Join(append(errs, s.home.remove())...)
}

// Parse parses the URL of a server.
func Parse(t testing.TB, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatalf("address of test server: %v", err)
	}
	return u
}

func withDatabase(t testing.TB, address, name string) string {
	t.Helper()
	u := Parse(t, address)
	u.Path = "/" + name
	return u.String()
}

func withQuery(t testing.TB, address, key, value string) string {
	t.Helper()
	u := Parse(t, address)
	query := u.Query()
	query.Set(key, value)
	u.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20") // PostgreSQL's clients do not decode + as a space
	return u.String()
}
