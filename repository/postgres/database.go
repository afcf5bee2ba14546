package postgres

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"outboxd/domain"
	"outboxd/domain/line"
	"outboxd/domain/smallfile"
)

// Options say how to reach the database.
type Options struct {
	URL string // a postgres:// URL or key=value string, as for libpq
	// PasswordFile names a file with the password. The password in the file replaces the
	// password of URL, and is also used for a URL for direct connections that has no
	// password. "": there is no file.
	PasswordFile smallfile.Secret
	MaxConns     int // size of the pool; at least 1
	// Schema is the schema of outboxd's tables and functions. "" means outboxd. Schema takes
	// precedence over a search_path of the URL, the role or the database.
	Schema string
	// ExecMode is the way in which pgx sends statements: cache_statement (also if it is ""),
	// cache_describe, describe_exec, exec or simple_protocol. Behind a pooler, every mode
	// except simple_protocol becomes exec. With cache_statement, Open also fails if the
	// pooler does not keep prepared statements.
	ExecMode string
	// ConnectTimeout limits how long Open waits, and how long every later connection attempt
	// takes.
	ConnectTimeout time.Duration
	// Tracer records the statements of work that has a trace. nil: no statement is recorded.
	Tracer pgx.QueryTracer
	Logger *slog.Logger
}

// Database is the pool. It is safe for concurrent use.
type Database struct {
	gorm    *gorm.DB
	sql     *sql.DB
	pool    *Pool
	session *session
	logger  *slog.Logger
}

// defaultSchema is the default of --database-schema.
const defaultSchema = "outboxd"

// If a connection has been idle for longer than pingAfter, the pool pings it before it is
// used.
const pingAfter = time.Minute

var execModes = map[string]pgx.QueryExecMode{
	"":                pgx.QueryExecModeCacheStatement,
	"cache_statement": pgx.QueryExecModeCacheStatement,
	"cache_describe":  pgx.QueryExecModeCacheDescribe,
	"describe_exec":   pgx.QueryExecModeDescribeExec,
	"exec":            pgx.QueryExecModeExec,
	"simple_protocol": pgx.QueryExecModeSimpleProtocol,
}

// Open connects to the server. Open waits up to ConnectTimeout for a server that does not
// answer yet.
//
// Errors: domain.CodeInvalid if the URL or the password file cannot be read, if the server refuses
// the credentials or a parameter of the URL, if the database does not exist, or if ExecMode is
// unknown or does not work with the pooler; domain.CodeUnavailable if the server cannot be reached
// in time.
func Open(ctx context.Context, o Options) (*Database, error) {
	config, session, err := configure(ctx, o)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("set up the database pool: %w", err)
	}
	if err := connect(ctx, pool, session, o.ConnectTimeout, o.Logger); err != nil {
		pool.Close()
		return nil, err
	}
	if session.isPooled() && config.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
		if err := session.tryPreparedStatements(ctx, pool); err != nil {
			pool.Close()
			return nil, err
		}
	}
	if session.isPooled() {
		pool.Reset() // ends the connections that were made before the pooler was known
	}
	sessions := &Pool{Pool: pool, pinned: session.isPooled(), pins: session.pins(true)}
	db := sessions.openSQL()
	g, err := openGORM(db, o.Logger)
	if err != nil {
		_ = db.Close()
		pool.Close()
		return nil, err
	}
	return &Database{gorm: g, sql: db, pool: sessions, session: session, logger: o.Logger}, nil
}

// configure returns the configuration of the pool, and what all its sessions share.
func configure(ctx context.Context, o Options) (*pgxpool.Config, *session, error) {
	config, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		return nil, nil, unreadableURL(err)
	}
	mode, known := execModes[o.ExecMode]
	if !known {
		return nil, nil, domain.Errorf(domain.CodeInvalid, "unknown exec mode %q", o.ExecMode)
	}
	config.MaxConns = int32(max(o.MaxConns, 1)) //nolint:gosec // checked with the configuration
	config.ConnConfig.DefaultQueryExecMode = mode
	config.ConnConfig.ConnectTimeout = o.ConnectTimeout
	config.ConnConfig.Tracer = o.Tracer
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = "outboxd"
	}
	config.ConnConfig.DialFunc = line.Dialer(o.ConnectTimeout).DialContext
	session := &session{logger: o.Logger, schema: cmp.Or(o.Schema, defaultSchema), url: config.ConnString(), password: o.PasswordFile}
	if err := session.login(config.ConnConfig.Copy()); err != nil {
		return nil, nil, err // the file cannot be read
	}
	if path := config.ConnConfig.RuntimeParams["search_path"]; path != "" && path != session.schema {
		o.Logger.WarnContext(ctx, "the search_path of the database URL is not used: --database-schema says where outboxd's tables are",
			"search_path", path, "schema", session.schema)
	}
	hook(config, session)
	return config, session, nil
}

// hook says what is done before and after a connection is made, before it is used, and after an error.
func hook(config *pgxpool.Config, session *session) {
	config.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
		session.prepare(c)
		return session.login(c)
	}
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		nameTypes(conn.TypeMap())
		return session.learn(ctx, conn)
	}
	// pgx closes the connection if the server turns out to be read-only. With several hosts
	// and target_session_attrs in the URL, the next connection goes to the host that is
	// writable now.
	keeps := config.ConnConfig.OnPgError
	config.ConnConfig.OnPgError = func(conn *pgconn.PgConn, err *pgconn.PgError) bool {
		return err.Code != readOnly && keeps(conn, err)
	}
	// With a ping before every use, most of the traffic of an idle process would be pings.
	// The first statement on a dead connection fails, and most callers then repeat it on
	// another connection.
	config.ShouldPing = func(_ context.Context, p pgxpool.ShouldPingParams) bool { return p.IdleDuration > pingAfter }
}

func openGORM(db *sql.DB, logger *slog.Logger) (*gorm.DB, error) {
	g, err := gorm.Open(postgres.New(postgres.Config{Conn: db}), &gorm.Config{
		Logger:                 newGormLogger(logger),
		TranslateError:         true,
		SkipDefaultTransaction: true,
		DisableAutomaticPing:   true,
		QueryFields:            true, // so that a new column does not change the result of a statement
	})
	if err != nil {
		return nil, fmt.Errorf("set up GORM: %w", err)
	}
	return g, nil
}

// nameTypes tells pgx which PostgreSQL types our parameters have, because some exec modes
// do not ask the server.
func nameTypes(types *pgtype.Map) {
	types.RegisterDefaultPgType([16]byte{}, "uuid")
	types.RegisterDefaultPgType([][16]byte{}, "_uuid")
	types.TryWrapEncodePlanFuncs = append([]pgtype.TryWrapEncodePlanFunc{encodeID}, types.TryWrapEncodePlanFuncs...)
}

// SQL returns the pool for database/sql: for migrations and single statements.
func (d *Database) SQL() *sql.DB { return d.sql }

// GORM returns the pool for GORM.
func (d *Database) GORM() *gorm.DB { return d.gorm }

// Pool returns the pool for pgx.
func (d *Database) Pool() *Pool { return d.pool }

// Logger returns the logger of the database.
func (d *Database) Logger() *slog.Logger { return d.logger }

// Ping asks the server for an answer. If a connection of the pool gets no answer, the
// others probably get none either, so Ping closes all of them.
//
// Errors: domain.CodeUnavailable.
func (d *Database) Ping(ctx context.Context) error {
	const doing = "reach the database"
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return Translate(err, doing)
	}
	defer conn.Release()
	if err := conn.Ping(ctx); err != nil {
		d.pool.Reset()
		return Translate(err, doing)
	}
	return nil
}

// Close closes all connections. It waits for those in use.
func (d *Database) Close() {
	_ = d.sql.Close()
	d.pool.Close()
}

// connect pings until the server answers. connect waits only for a server that does not
// answer yet; it returns at once if the configuration is wrong, for example the password,
// because it stays wrong.
func connect(ctx context.Context, pool *pgxpool.Pool, session *session, patience time.Duration, logger *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	retry := time.NewTicker(200 * time.Millisecond)
	defer retry.Stop()
	var last error // what the last whole attempt said
	for {
		err := pool.Ping(ctx)
		if err == nil {
			return nil
		}
		if session.refused(err) {
			continue
		}
		err = oneLine{err}
		if isMisconfigured(err) {
			return domain.Wrap(domain.CodeInvalid, err, "the database refuses the connection")
		}
		if last == nil {
			logger.Info("waiting for the database", "patience", patience, "error", err)
		}
		// The end of patience interrupts the last attempt, which then says nothing about the cause.
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return domain.Wrap(domain.CodeUnavailable, last, fmt.Sprintf("the database does not answer within %v", patience))
		case <-retry.C:
		}
	}
}
