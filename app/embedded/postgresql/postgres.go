package postgresql

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

	"outboxd/app/embedded/keeper"
)

// databaseName is the name of the database and of its owner.
const databaseName = "outboxd"

// The SQLSTATEs for a server that is not ready, and for a database that does not
// exist.
const (
	cannotConnectNow   = "57P03"
	invalidCatalogName = "3D000"
)

// Engine is the engine for PostgreSQL.
type Engine struct {
	Folder    *keeper.Folder
	Programs  string // folder with postgres and initdb; empty: the usual places
	Ephemeral bool   // see embedded.Options
}

// Name implements keeper.Engine.
func (p *Engine) Name() string { return "postgres" }

// Title implements keeper.Engine.
func (p *Engine) Title() string { return "PostgreSQL" }

// StopSignal implements keeper.Engine.
func (p *Engine) StopSignal() syscall.Signal { return syscall.SIGINT }

// runningPostgres is a PostgreSQL that this process has launched.
type runningPostgres struct {
	*keeper.Child
	published keeper.State
}

func (r *runningPostgres) State() keeper.State { return r.published }

// Stop requests a fast shutdown. If ctx ends first, Stop requests an immediate one. Stop does not request a smart
// shutdown, which would wait for clients.
func (r *runningPostgres) Stop(ctx context.Context) error {
	r.StopBy(ctx, syscall.SIGINT, syscall.SIGQUIT)
	if ctx.Err() != nil {
		return fmt.Errorf("PostgreSQL did not shut down in time and recovers at its next start: %w", ctx.Err())
	}
	return nil
}

// Launch implements keeper.Engine.
func (p *Engine) Launch(ctx context.Context, held *os.File) (keeper.Instance, error) {
	data := p.Folder.File("postgres")
	major, err := dataVersion(data)
	if err != nil {
		return nil, err
	}
	bin, err := findPostgres(p.Programs, major)
	if err != nil {
		return nil, err
	}
	if _, err := p.Folder.Account.Version(bin.program("postgres"), p.Folder.Path); err != nil {
		return nil, err
	}
	sockets, err := p.Folder.Sockets()
	if err != nil {
		return nil, err
	}
	log, err := p.Folder.OpenLog(p.Name())
	if err != nil {
		return nil, err
	}
	defer log.Close()
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
	c, err := keeper.Spawn(keeper.Command{
		Program: bin.program("postgres"), Args: p.settings(data, sockets), Env: postgresEnvironment(),
		Output: log.File, Held: held, Death: syscall.SIGINT, Account: p.Folder.Account,
	})
	if err != nil {
		return nil, err
	}
	r := &runningPostgres{Child: c, published: keeper.State{
		URL: databaseURL(sockets, databaseName), PID: c.OS().Pid, Version: bin.version, Data: data,
		Shell: fmt.Sprintf("psql -h %s -U %s %s", keeper.ShellQuote(sockets), databaseName, databaseName),
	}}
	if err := p.untilReady(ctx, r, sockets); err != nil {
		c.StopSoon(syscall.SIGINT, syscall.SIGQUIT)
		return nil, log.Explain(fmt.Errorf("start PostgreSQL %s on %s: %w", bin.version, data, err))
	}
	return r, nil
}

// settings returns settings for a small private server. The settings go on the command line, so that postgresql.conf in
// the data directory stays free for the users' own settings.
func (p *Engine) settings(data, sockets string) []string {
	args := []string{
		"-D", data, "-p", "5432", "-h", "",
		"-c", "unix_socket_directories=" + listQuote(sockets),
		"-c", "unix_socket_permissions=0700",
		"-c", "logging_collector=off", "-c", "log_destination=stderr", "-c", "log_line_prefix=%m [%p] ",
		"-c", "shared_buffers=128MB", "-c", "jit=off",
	}
	if p.Ephemeral {
		// With fsync off, a commit still reaches the kernel before PostgreSQL acknowledges it, so only a crash of the
		// machine can lose it. synchronous_commit stays on, because otherwise commits would be lost when a test kills
		// the server.
		return append(args, "-c", "max_connections=400", "-c", "fsync=off", "-c", "full_page_writes=off")
	}
	return append(args, "-c", "max_connections=200")
}

// untilReady waits until the database can be used. At the first start untilReady
// creates the database.
func (p *Engine) untilReady(ctx context.Context, r *runningPostgres, sockets string) error {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		err := p.Answers(ctx, r.published)
		if sqlState(err) == invalidCatalogName {
			err = makeDatabase(ctx, databaseURL(sockets, "postgres"))
			if err == nil {
				continue
			}
		}
		if err == nil {
			return nil
		}
		// An error without a SQLSTATE means that the connection failed, for example because the socket does not exist
		// yet: try again. An error from the server itself is final, unless the server says that it is starting up.
		if code := sqlState(err); code != "" && code != cannotConnectNow {
			return err
		}
		select {
		case <-r.Ended():
			return r.Cause()
		case <-ctx.Done():
			return keeper.NotReady(ctx, err)
		case <-time.After(pause):
		}
	}
}

// Answers implements keeper.Engine.
func (p *Engine) Answers(ctx context.Context, s keeper.State) error {
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
	// PostgreSQL's clients do not decode + as a space. So write a space as %20, for example that in "Application
	// Support".
	query := strings.ReplaceAll(url.Values{"host": {sockets}, "port": {"5432"}, "sslmode": {"disable"}}.Encode(), "+", "%20")
	return (&url.URL{Scheme: "postgres", User: url.User(databaseName), Path: "/" + database, RawQuery: query}).String()
}

func sqlState(err error) string {
	if fault, ok := errors.AsType[*pgconn.PgError](err); ok {
		return fault.Code
	}
	return ""
}

// postgresEnvironment removes variables that would change how the server and initdb work, and makes their messages
// English.
func postgresEnvironment() []string {
	return keeper.Environment([]string{"LC_ALL=C", "LANG=C"}, "PG", "LC_", "LANG")
}

// listQuote quotes one element of a PostgreSQL setting whose value is a list.
func listQuote(text string) string { return `"` + strings.ReplaceAll(text, `"`, `""`) + `"` }
