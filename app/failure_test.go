package app_test

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"outboxd/app/servertest"
)

// TestStartFails checks that every failure prints one message that says what to
// change, and nothing else.
func TestStartFails(t *testing.T) {
	t.Parallel()
	const failed, usage = 1, 2
	database, redis := "--database-url="+servertest.Database(t), "--redis-url="+servertest.Redis(t)
	empty := "--database-url=" + servertest.Database(t)
	taken := listen(t)
	closed := listen(t)
	_ = closed.Close()
	silent := listen(t) // accepts, by its backlog, and never says a word
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	everything := []string{"--api-addr=127.0.0.1:0", "--monitor-addr=127.0.0.1:0", "--notify=log", "--data-dir=" + t.TempDir()}

	for name, c := range map[string]struct {
		args    []string
		environ []string
		code    int
		says    []string
	}{
		"API port taken":               {[]string{database, redis, "--api-addr=" + taken.Addr().String()}, nil, failed, []string{"address already in use", taken.Addr().String(), "--api-addr"}},
		"monitor port taken":           {[]string{database, redis, "--monitor-addr=" + taken.Addr().String()}, nil, failed, []string{"address already in use", "--monitor-addr"}},
		"port taken, embedded servers": {[]string{"--api-addr=" + taken.Addr().String()}, nil, failed, []string{"address already in use"}},
		"wrong password": {
			[]string{redis},
			[]string{"DATABASE_URL=postgres://outboxd:top-secret@" + refusingPostgres(t) + "/outboxd?sslmode=disable"},
			failed,
			[]string{"password authentication failed", "--database-url", "OUTBOXD_DATABASE_URL", "database.url"},
		},
		"unknown database": {[]string{redis, strings.Replace(database, "/test_", "/no_such_", 1)}, nil, failed, []string{`database "no_such_`, "does not exist", "--database-url"}},
		"database unreachable": {
			[]string{redis, "--database-url=postgres://outboxd:top-secret@" + closed.Addr().String() + "/outboxd", "--database-connect-timeout=3s"},
			nil, failed,
			[]string{"does not answer within 3s", "connection refused", "--database-url"},
		},
		"database silent": {
			[]string{redis, "--database-url=postgres://outboxd:top-secret@" + silent.Addr().String() + "/outboxd", "--database-connect-timeout=3s"},
			nil, failed,
			[]string{"does not answer within 3s", "--database-url"},
		},
		"no such host": {
			[]string{redis, "--database-url=postgres://outboxd:top-secret@no-such-host.invalid/outboxd", "--database-connect-timeout=3s"},
			nil, failed,
			[]string{"does not answer within 3s", "no-such-host.invalid", "--database-url"},
		},
		"misspelt sslmode": {[]string{redis, "--database-url=postgres://outboxd:top-secret@localhost/outboxd?sslmode=requre"}, nil, failed, []string{"sslmode is invalid", "--database-url"}},
		"misspelt timeout in the URL": {
			[]string{redis, "--database-url=postgres://outboxd:top-secret@localhost/outboxd?connect_timeout=soon"}, nil, failed, []string{"connect_timeout", "--database-url"},
		},
		"password with a #":           {[]string{redis, "--database-url=postgres://outboxd:top-secret#1@localhost/outboxd"}, nil, usage, []string{"percent-encoded", "--database-url"}},
		"address of another machine":  {[]string{database, redis, "--api-addr=192.0.2.1:0"}, nil, failed, []string{"192.0.2.1", "--api-addr"}},
		"empty schema, no migrations": {[]string{empty, redis, "--migrate=off"}, nil, failed, []string{"outboxd migrate up"}},
		"data directory is a file":    {[]string{"--data-dir=" + file}, nil, failed, []string{file}},
		"mail folder in a file":       {[]string{database, redis, "--data-dir=" + file}, nil, failed, []string{file}},

		"no time":          {[]string{"types", "list", "--timeout=0", database, redis}, nil, usage, []string{"--timeout 0s", "at least 1ms"}},
		"unknown flag":     {[]string{"--relay-concurency=4"}, nil, usage, []string{"--relay-concurency. Did you mean --relay-concurrency?", "outboxd --help"}},
		"unknown command":  {[]string{"relay"}, nil, usage, []string{`"relay"`, "outboxd --help"}},
		"misspelt command": {[]string{"event", "list"}, nil, usage, []string{`"event". Did you mean events?`}},
		"misspelt verb":    {[]string{"dead", "lst"}, nil, usage, []string{`"lst". Did you mean list?`}},
		"unknown variable": {nil, []string{"OUTBOXD_RELAY_CONCURENCY=4"}, usage, []string{"OUTBOXD_RELAY_CONCURENCY", "OUTBOXD_RELAY_CONCURRENCY"}},
		"bad values": {
			[]string{"--relay-concurrency=many", "--roles=relais"},
			[]string{"OUTBOXD_LOG_LEVEL=loud"},
			usage,
			[]string{"3 faults", "--relay-concurrency", "OUTBOXD_RELAY_CONCURRENCY", "relay.concurrency", `"many"`, `relais`, `"loud"`},
		},
		"missing file":                 {[]string{"--config=nowhere.yaml"}, nil, usage, []string{"nowhere.yaml"}},
		"bad webhook URL":              {[]string{"--notify=webhook", "--webhook-url=example.com/hook"}, nil, usage, []string{"--webhook-url", "http://"}},
		"bad Redis URL":                {[]string{database, "--redis-url=localhost:6379"}, nil, usage, []string{"--redis-url", "redis://"}},
		"bad database URL":             {[]string{redis, "--database-url=mysql://top-secret@localhost"}, nil, usage, []string{"--database-url", "postgres://"}},
		"open monitor without a token": {[]string{"--monitor-addr=0.0.0.0:0"}, nil, usage, []string{"--monitor-addr", "--admin-token"}},
		"worker without a notifier":    {[]string{database, redis, "--notify="}, nil, usage, []string{"--notify", "webhook"}},
		"migrate down without consent": {[]string{"migrate", "down", database}, nil, usage, []string{"--yes"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The case's own flags come later, and so override.
			r := execute(t, c.environ, slices.Concat(everything, c.args)...)
			message := r.message()
			if r.code != c.code {
				t.Errorf("exit code %d, want %d", r.code, c.code)
			}
			for _, want := range c.says {
				if !strings.Contains(message, want) {
					t.Errorf("it does not say %s", want)
				}
			}
			if !strings.HasPrefix(message, "outboxd: ") || strings.Count(message, "outboxd: ") != 1 || r.stdout != "" {
				t.Errorf("want one message, on stderr")
			}
			for _, unwanted := range []string{"goroutine ", "Usage:", "panic", "top-secret"} {
				if strings.Contains(r.stderr+r.stdout, unwanted) {
					t.Errorf("it says %q", unwanted)
				}
			}
			if c.code == failed && strings.Count(message, "\n") != 1 {
				t.Errorf("the message has several lines")
			}
			if len(message) > 1200 {
				t.Errorf("the message has %d bytes", len(message))
			}
			t.Logf("%s", message)
			if t.Failed() {
				t.Logf("log: %s", r.stderr)
			}
		})
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

// refusingPostgres returns the address of a server that asks for a password and finds it wrong. The
// test servers trust everybody.
func refusingPostgres(t *testing.T) string {
	t.Helper()
	listener := listen(t)
	ended := make(chan struct{})
	t.Cleanup(func() { _ = listener.Close(); <-ended })
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if err := refuse(conn); err != nil {
				t.Logf("refuse a connection: %v", err)
			}
		}
	}()
	return listener.Addr().String()
}

func refuse(conn net.Conn) error {
	defer func() { _ = conn.Close() }()
	backend := pgproto3.NewBackend(conn, conn)
	if _, err := backend.ReceiveStartupMessage(); err != nil {
		return err
	}
	backend.Send(&pgproto3.AuthenticationCleartextPassword{})
	if err := backend.Flush(); err != nil {
		return err
	}
	if err := backend.SetAuthType(pgproto3.AuthTypeCleartextPassword); err != nil {
		return err
	}
	if _, err := backend.Receive(); err != nil {
		return err
	}
	backend.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "28P01", Message: `password authentication failed for user "outboxd"`})
	return backend.Flush()
}
