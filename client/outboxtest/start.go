package outboxtest

import (
	"database/sql"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	_ "github.com/jackc/pgx/v5/stdlib" // DB opens it by name
)

// Outboxd is a running outboxd. Outboxd is stopped at the end of its test.
type Outboxd struct {
	// DatabaseURL and RedisURL are the addresses of outboxd's servers. Embedded
	// servers are empty except for the outbox, and no other test uses them.
	DatabaseURL, RedisURL string
	// MonitorURL is the address of outboxd's pages, probes and metrics.
	MonitorURL string
	// Patience bounds Drain. Start sets it to 30 seconds.
	Patience time.Duration

	process *process
}

// Start starts an outboxd and waits until it is ready. The started outboxd has the role
// relay and listens on free ports. PostgreSQL and Redis are embedded servers, on unix
// sockets in a temporary folder. args are further flags, which take precedence, such as
// "--roles=relay,worker". With "--database-url=…" or "--redis-url=…" the outboxd uses that
// server instead of an embedded one.
//
// Start runs the binary that $OUTBOXD_BIN names. Without that variable Start builds outboxd from the source tree of
// this package, if there is one, or else runs outboxd from PATH. The first start takes a few seconds, and leaves an
// empty database in the system's temporary folder. Later starts copy this database and take a few tenths of a second.
//
// At the end of the test outboxd drains, and its data are deleted. If the test has failed, the test's output has the
// end of outboxd's log.
func Start(t testing.TB, args ...string) *Outboxd {
	t.Helper()
	binary, err := findBinary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	data, err := newData(t.Context(), binary)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(filepath.Dir(data)) })
	if !slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "--roles") }) {
		args = append(args, "--roles=relay")
	}
	p := launch(t, binary, append([]string{"--data-dir=" + data, "--monitor-addr=127.0.0.1:0", "--api-addr=127.0.0.1:0"}, args...))
	ready := p.awaitReady(t)
	return &Outboxd{
		DatabaseURL: urlOf(t, args, "--database-url=", data, "postgres.json"), RedisURL: urlOf(t, args, "--redis-url=", data, "redis.json"), MonitorURL: ready.Monitor,
		Patience: 30 * time.Second, process: p,
	}
}

// urlOf returns the address of a server: the one that args name, or that of the embedded server.
func urlOf(t testing.TB, args []string, flag, data, name string) string {
	t.Helper()
	for _, arg := range slices.Backward(args) {
		if address, named := strings.CutPrefix(arg, flag); named {
			return address
		}
	}
	return readURL(t, data, name)
}

// readURL reads the address of an embedded server.
func readURL(t testing.TB, data, name string) string {
	t.Helper()
	var server struct{ URL string }
	text, err := os.ReadFile(filepath.Join(data, name))
	if err == nil {
		err = json.Unmarshal(text, &server)
	}
	if err != nil {
		t.Fatalf("read the address of an embedded server: %v", err)
	}
	return server.URL
}

// DB returns a connection pool on the database, with the driver pgx. It is closed
// at the end of the test.
func (o *Outboxd) DB(t testing.TB) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", o.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// Redis returns the address of Redis in the form that Asynq takes.
func (o *Outboxd) Redis(t testing.TB) asynq.RedisConnOpt {
	t.Helper()
	option, err := asynq.ParseRedisURI(o.RedisURL)
	if err != nil {
		t.Fatal(err)
	}
	return option
}

// environ returns the environment for outboxd: that of this process, without
// variables that name other servers or configure outboxd. Variables that name the
// programs of the embedded servers stay.
func environ() (kept []string) {
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if name != "DATABASE_URL" && name != "REDIS_URL" && !strings.HasPrefix(name, "PG") && (!strings.HasPrefix(name, "OUTBOXD_") || strings.HasPrefix(name, "OUTBOXD_EMBEDDED_")) {
			kept = append(kept, variable)
		}
	}
	return kept
}
