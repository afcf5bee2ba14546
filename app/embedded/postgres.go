package embedded

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// databaseName is the name of the database and of its owner.
const databaseName = "outboxd"

// SQLSTATEs of a server that is not ready, and of one that lacks the database.
const (
	cannotConnectNow   = "57P03"
	invalidCatalogName = "3D000"
)

// postgres is the engine for PostgreSQL.
type postgres struct {
	folder  *folder
	options Options
}

func (p *postgres) name() string  { return "postgres" }
func (p *postgres) title() string { return "PostgreSQL" }

// runningPostgres is a PostgreSQL that this process has launched.
type runningPostgres struct {
	*server
	published state
}

func (r *runningPostgres) state() state { return r.published }

// stop asks for a fast shutdown, since the smart one waits for clients; then for an immediate one.
func (r *runningPostgres) stop(ctx context.Context) error {
	r.stopBy(ctx, syscall.SIGINT, syscall.SIGQUIT)
	if ctx.Err() != nil {
		return fmt.Errorf("PostgreSQL did not shut down in time and recovers at its next start: %w", ctx.Err())
	}
	return nil
}

func (p *postgres) launch(ctx context.Context, held *os.File) (instance, error) {
	data := p.folder.file("postgres")
	major, err := dataVersion(data)
	if err != nil {
		return nil, err
	}
	bin, err := findPostgres(p.options.PostgresBin, major)
	if err != nil {
		return nil, err
	}
	if _, err := p.folder.account.version(bin.program("postgres"), p.folder.path); err != nil {
		return nil, err
	}
	sockets, err := p.folder.sockets()
	if err != nil {
		return nil, err
	}
	log, err := p.folder.openLog(p.name())
	if err != nil {
		return nil, err
	}
	defer log.close()
	if major == 0 {
		if err := p.initialise(ctx, bin, data, log, held); err != nil {
			return nil, err
		}
	}
	for _, path := range []string{filepath.Join(data, "postmaster.pid"), filepath.Join(sockets, ".s.PGSQL.5432.lock")} {
		if err := removeStale(path); err != nil {
			return nil, err
		}
	}
	c, err := spawn(command{
		program: bin.program("postgres"), args: p.settings(data, sockets), env: postgresEnvironment(),
		output: log.file, held: held, death: syscall.SIGINT, account: p.folder.account,
	})
	if err != nil {
		return nil, err
	}
	r := &runningPostgres{server: c, published: state{
		URL: databaseURL(sockets, databaseName), PID: c.process().Pid, Version: bin.version, Data: data,
		Shell: fmt.Sprintf("psql -h %s -U %s %s", shellQuote(sockets), databaseName, databaseName),
	}}
	if err := p.untilReady(ctx, r, sockets); err != nil {
		c.stopSoon(syscall.SIGINT, syscall.SIGQUIT)
		return nil, log.explain(fmt.Errorf("start PostgreSQL %s on %s: %w", bin.version, data, err))
	}
	return r, nil
}

// settings suit a small private server. They stand on the command line, so that the data directory's own postgresql.conf remains
// the user's to edit for everything that is not said here.
func (p *postgres) settings(data, sockets string) []string {
	args := []string{
		"-D", data, "-p", "5432", "-h", "",
		"-c", "unix_socket_directories=" + listQuote(sockets),
		"-c", "unix_socket_permissions=0700",
		"-c", "logging_collector=off", "-c", "log_destination=stderr", "-c", "log_line_prefix=%m [%p] ",
		"-c", "shared_buffers=128MB", "-c", "jit=off",
	}
	if p.options.Ephemeral {
		// With fsync off a commit still reaches the kernel before it is acknowledged, so only the machine's crash can lose it. Switching
		// synchronous_commit off would lose commits when the server is killed, and tests do that.
		return append(args, "-c", "max_connections=400", "-c", "fsync=off", "-c", "full_page_writes=off")
	}
	return append(args, "-c", "max_connections=200")
}

// untilReady waits until the database can be used, and makes it at the first start.
func (p *postgres) untilReady(ctx context.Context, r *runningPostgres, sockets string) error {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		err := p.answers(ctx, r.published)
		if sqlState(err) == invalidCatalogName {
			err = makeDatabase(ctx, databaseURL(sockets, "postgres"))
			if err == nil {
				continue
			}
		}
		if err == nil {
			return nil
		}
		// Before the socket exists the dial fails; anything that the server itself says, other than to wait, is final.
		if code := sqlState(err); code != "" && code != cannotConnectNow {
			return err
		}
		select {
		case <-r.ended():
			return r.cause()
		case <-ctx.Done():
			return notReady(ctx, err)
		case <-time.After(pause):
		}
	}
}

func (p *postgres) answers(ctx context.Context, s state) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.URL)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

func makeDatabase(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+databaseName); err != nil {
		return fmt.Errorf("make database %s: %w", databaseName, err)
	}
	return nil
}

func databaseURL(sockets, database string) string {
	// PostgreSQL's clients take a plus sign in a query for what it is, so a space, as in Application Support, must not become one.
	query := strings.ReplaceAll(url.Values{"host": {sockets}, "port": {"5432"}, "sslmode": {"disable"}}.Encode(), "+", "%20")
	return (&url.URL{Scheme: "postgres", User: url.User(databaseName), Path: "/" + database, RawQuery: query}).String()
}

func sqlState(err error) string {
	if fault, ok := errors.AsType[*pgconn.PgError](err); ok {
		return fault.Code
	}
	return ""
}

// postgresEnvironment drops what would steer the server or initdb elsewhere, and keeps messages in English.
func postgresEnvironment() []string {
	return environment([]string{"LC_ALL=C", "LANG=C"}, "PG", "LC_", "LANG")
}

// notReady says why the wait for a server ended, and what it ended with.
func notReady(ctx context.Context, last error) error {
	return fmt.Errorf("%w; the last attempt: %v", ctx.Err(), last) //nolint:errorlint // only the first one is the cause
}
