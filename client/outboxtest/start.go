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

// Outboxd is a running outboxd. It ends with its test.
type Outboxd struct {
	// DatabaseURL and RedisURL are those of its servers, which are empty but for
	// the outbox and serve nobody else.
	DatabaseURL, RedisURL string
	// MonitorURL is where its pages, probes and metrics are.
	MonitorURL string
	// Patience bounds Drain. Start sets it to 30 seconds.
	Patience time.Duration

	process *process
}

// Start starts an outboxd and waits until it is ready. It has the role relay, servers of
// its own on unix sockets in a temporary folder, and free ports. args are more
// flags, which win: "--roles=relay,worker".
//
// The binary is $OUTBOXD_BIN; or the one of the tree that this package is in, which
// Start builds if it has changed; or outboxd on the PATH. A first start takes a
// few seconds. It leaves an empty database in the system's folder for temporary files, and every
// other one, a few tenths of a second, begins with a copy of it.
//
// At the end of the test outboxd drains and its data are removed. The end of its
// log is part of the output of a test that failed.
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
		DatabaseURL: readURL(t, data, "postgres.json"), RedisURL: readURL(t, data, "redis.json"), MonitorURL: ready.Monitor,
		Patience: 30 * time.Second, process: p,
	}
}

// readURL reads what outboxd says of an embedded server.
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

// DB returns a pool on the database, by pgx. It is closed at the end of the test.
func (o *Outboxd) DB(t testing.TB) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", o.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// Redis returns the Redis as Asynq takes it.
func (o *Outboxd) Redis(t testing.TB) asynq.RedisConnOpt {
	t.Helper()
	option, err := asynq.ParseRedisURI(o.RedisURL)
	if err != nil {
		t.Fatal(err)
	}
	return option
}

// environ is the environment without what names servers of somebody's, or sets
// outboxd up.
func environ() (kept []string) {
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if name != "DATABASE_URL" && name != "REDIS_URL" && !strings.HasPrefix(name, "PG") && (!strings.HasPrefix(name, "OUTBOXD_") || strings.HasPrefix(name, "OUTBOXD_EMBEDDED_")) {
			kept = append(kept, variable)
		}
	}
	return kept
}
