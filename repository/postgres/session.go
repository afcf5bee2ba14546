package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"outboxd/domain"
)

// setting is a parameter of a PostgreSQL session that outboxd relies on. It is
// asked for when a connection is made, and so beats postgresql.conf, ALTER
// DATABASE and ALTER ROLE.
type setting struct {
	name, value string
	// The server versions that know it, as in server_version_num; 0: all.
	since, before int
}

// sessionSettings are what every session of outboxd has, whatever its role and
// database say. A setting is here if another value of it makes a statement
// fail, return something else, or lock and wait differently. What only tunes
// costs and memory (work_mem, random_page_cost) or is somebody's choice
// (synchronous_commit, default_tablespace) is left alone.
var sessionSettings = []setting{
	// Text goes over the wire in the exec modes that ask for no types, and to
	// SQL's functions in all of them.
	{name: "client_encoding", value: "UTF8"},
	{name: "DateStyle", value: "ISO, MDY"},
	{name: "IntervalStyle", value: "postgres"},
	{name: "TimeZone", value: "UTC"},
	{name: "bytea_output", value: "hex"},
	{name: "extra_float_digits", value: "1"},
	{name: "standard_conforming_strings", value: "on"},
	{name: "quote_all_identifiers", value: "off"},
	{name: "array_nulls", value: "on"},
	{name: "transform_null_equals", value: "off"},
	{name: "xmloption", value: "content"},
	{name: "client_min_messages", value: "notice"},
	{name: "check_function_bodies", value: "on"},

	// A claim passes over rows that others have locked, and a confirmation waits
	// for them. Both need READ COMMITTED.
	{name: "default_transaction_isolation", value: "read committed"},
	{name: "default_transaction_deferrable", value: "off"},

	// What outboxd does is bounded by its own deadlines, and where a process may
	// stop without dying, by timeouts that the transaction sets for itself. One
	// that was meant for other work would end it half-way, again and again.
	{name: "statement_timeout", value: "0"},
	{name: "lock_timeout", value: "0"},
	{name: "idle_in_transaction_session_timeout", value: "60000"},
	{name: "idle_session_timeout", value: "0", since: 14_00_00},
	{name: "transaction_timeout", value: "0", since: 17_00_00},

	// A policy that hides rows from outboxd has to be an error: events that it
	// does not see would wait for ever.
	{name: "row_security", value: "off"},

	// A claim finds its rows by an index and deletes them by their places. What
	// forbids one of the ways makes it read the table.
	{name: "plan_cache_mode", value: "auto"},
	{name: "jit", value: "off"},
	{name: "enable_seqscan", value: "on"},
	{name: "enable_indexscan", value: "on"},
	{name: "enable_indexonlyscan", value: "on"},
	{name: "enable_bitmapscan", value: "on"},
	{name: "enable_tidscan", value: "on"},
	{name: "enable_sort", value: "on"},
	{name: "enable_incremental_sort", value: "on"},
	{name: "enable_hashagg", value: "on"},
	{name: "enable_material", value: "on"},
	{name: "enable_nestloop", value: "on"},
	{name: "enable_hashjoin", value: "on"},
	{name: "enable_mergejoin", value: "on"},
	{name: "enable_partition_pruning", value: "on"},
	{name: "enable_memoize", value: "on", since: 14_00_00},
	{name: "join_collapse_limit", value: "8"},
	{name: "from_collapse_limit", value: "8"},
	{name: "geqo_threshold", value: "12"},
	{name: "constraint_exclusion", value: "partition"},
	{name: "force_parallel_mode", value: "off", before: 16_00_00},
	{name: "debug_parallel_query", value: "off", since: 16_00_00},
}

// pooledParameters are what PgBouncer takes at the start of a connection, and
// keeps for each of its clients.
var pooledParameters = []string{"client_encoding", "DateStyle", "TimeZone", "standard_conforming_strings", "application_name"}

// mark is a parameter of no meaning. A session that has it got the others too:
// poolers refuse parameters, or drop them without a word.
const mark = "outboxd.session"

// The values of mark: what a connection was made with.
const (
	markFirst = "first" // before the server's version was known
	markKnown = "known" // everything
)

func (s setting) known(version int) bool {
	return version >= s.since && (s.before == 0 || version < s.before)
}

// session is what was learned about the sessions that the URL leads to. It is
// learned from the first connection, and safe for concurrent use.
type session struct {
	logger *slog.Logger
	schema string // in which everything of outboxd is

	mu sync.Mutex
	// pooled: one of our connections is not one session of PostgreSQL's, so
	// nothing that is asked for at its start can be relied on. Each transaction
	// then asks for itself.
	pooled   bool
	version  int    // as in server_version_num; 0: nothing was learned yet
	encoding string // of the database
	origin   bool   // session_replication_role has to be asked for, and may be
	writable bool   // readOnlyDefault has to be asked for
}

// readOnlyDefault is asked for only where the role or the database says otherwise.
// The configuration of a server is how one is made read-only that another takes
// over from: what is then written to it would be lost.
const readOnlyDefault = "default_transaction_read_only"

// prepare adds to config what to ask for.
func (s *session) prepare(config *pgx.ConnConfig) {
	s.mu.Lock()
	defer s.mu.Unlock()
	parameters := maps.Clone(config.RuntimeParams)
	if parameters == nil {
		parameters = map[string]string{}
	}
	config.RuntimeParams = parameters
	for name := range parameters {
		if strings.EqualFold(name, "search_path") {
			delete(parameters, name)
		}
		for _, own := range sessionSettings {
			if strings.EqualFold(name, own.name) {
				delete(parameters, name)
			}
		}
	}
	for _, own := range sessionSettings {
		if s.version == 0 && own.since == 0 && own.before == 0 || s.version > 0 && own.known(s.version) {
			parameters[own.name] = own.value
		}
	}
	parameters["search_path"] = s.searchPath()
	switch {
	case s.pooled:
		// The other modes have a statement described ahead of the transaction that
		// it belongs to, and so by a session that looks in another schema.
		if config.DefaultQueryExecMode != pgx.QueryExecModeSimpleProtocol {
			config.DefaultQueryExecMode = pgx.QueryExecModeExec
		}
		maps.DeleteFunc(parameters, func(name, _ string) bool { return !isPooledParameter(name) })
	case s.version == 0:
		parameters[mark] = markFirst
	default:
		parameters[mark] = markKnown
		if s.origin {
			parameters["session_replication_role"] = "origin"
		}
		if s.writable {
			parameters[readOnlyDefault] = "off"
		}
	}
}

// searchPath lets the statements call everything by its short name, wherever a
// URL, a role or a database would have them look. Temporary tables come last:
// nobody can put one before ours.
func (s *session) searchPath() string { return pgx.Identifier{s.schema}.Sanitize() + ", pg_temp" }

func isPooledParameter(name string) bool {
	for _, known := range pooledParameters {
		if strings.EqualFold(name, known) {
			return true
		}
	}
	return false
}

// refused tells whether a connection failed because what leads to PostgreSQL
// takes no parameters. From then on none are sent.
func (s *session) refused(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || pg.Code != "08P01" || !strings.Contains(pg.Message, "unsupported startup parameter") {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	again := !s.pooled
	s.pooled = true
	return again
}

const lookSQL = `
SELECT current_setting('server_version_num')::int, coalesce(current_setting('` + mark + `', true), ''),
       current_setting('session_replication_role'),
       (SELECT source NOT IN ('default', 'configuration file', 'command line', 'environment variable')
        FROM pg_settings WHERE name = '` + readOnlyDefault + `')`

// learn completes a new connection, and reads from the first what the next ones
// need to know.
func (s *session) learn(ctx context.Context, conn *pgx.Conn) error {
	if conn.Config().RuntimeParams[mark] == markKnown {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pooled && s.version > 0 {
		return nil
	}
	var version int
	var marked, replicationRole string
	var writable bool
	// Nothing is prepared: it may not be this session's.
	if err := conn.QueryRow(ctx, lookSQL, pgx.QueryExecModeSimpleProtocol).Scan(&version, &marked, &replicationRole, &writable); err != nil {
		return fmt.Errorf("look at the session: %w", err)
	}
	s.encoding = conn.PgConn().ParameterStatus("server_encoding")
	if s.version == 0 {
		s.version, s.writable = version, writable
		s.pooled = s.pooled || marked == ""
		s.logger.DebugContext(ctx, "database session", "server_version", version, "schema", s.schema, "encoding", s.encoding, "pooled", s.pooled)
	}
	if s.pooled {
		return nil
	}
	if _, err := conn.Exec(ctx, s.pins(false)); err != nil {
		return fmt.Errorf("set up the session: %w", err)
	}
	if replicationRole == "origin" {
		return nil
	}
	_, err := conn.Exec(ctx, "SET session_replication_role = origin")
	switch {
	case err == nil:
		s.origin = true
	case SQLState(err) == "42501":
		s.logger.WarnContext(ctx, "triggers do not fire for what outboxd writes: the database role has session_replication_role = "+replicationRole+
			"; take it back with ALTER ROLE … RESET session_replication_role")
	default:
		return fmt.Errorf("set up the session: %w", err)
	}
	return nil
}

// pins returns the statement that asks for all settings, for the transaction
// (local) or the session. The defaults of transactions come too late inside one.
func (s *session) pins(local bool) string {
	var calls []string
	pin := func(name, value string) {
		calls = append(calls, fmt.Sprintf("set_config('%s', '%s', %t)", name, strings.ReplaceAll(value, "'", "''"), local))
	}
	for _, own := range sessionSettings {
		if own.known(s.version) && !(local && strings.HasPrefix(own.name, "default_transaction_")) {
			pin(own.name, own.value)
		}
	}
	if s.writable && !local {
		pin(readOnlyDefault, "off")
	}
	pin("search_path", s.searchPath())
	return "SELECT " + strings.Join(calls, ", ")
}

// isPooled tells whether each transaction has to ask for its settings itself.
func (s *session) isPooled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pooled
}

// noPreparedStatements is what to do where statements that one session has
// prepared are executed by another.
const noPreparedStatements = "a pooler such as PgBouncer in transaction mode leads to the database, and does not keep prepared statements: " +
	"use --database-exec-mode=cache_describe (OUTBOXD_DATABASE_EXEC_MODE, database.exec_mode)"

// isForeignStatement tells whether a prepared statement met another session.
func isForeignStatement(err error) bool {
	state := SQLState(err)
	return state == "26000" || state == "42P05"
}

// tryPreparedStatements prepares a statement on one connection, keeps its session
// busy by another, and executes it then.
//
// Errors: domain.CodeInvalid if the statement is not known any more.
func tryPreparedStatements(ctx context.Context, pool *pgxpool.Pool) error {
	const doing = "try whether prepared statements are kept"
	config := pool.Config().ConnConfig
	var conns [2]*pgx.Conn
	for i := range conns {
		c := config.Copy()
		(&session{pooled: true}).prepare(c)
		conn, err := pgx.ConnectConfig(ctx, c)
		if err != nil {
			return Translate(err, doing)
		}
		defer HangUp(ctx, conn)
		conns[i] = conn
	}
	_, err := conns[0].Prepare(ctx, "outboxd_try", "SELECT 1")
	if err == nil {
		_, err = conns[1].Exec(ctx, "BEGIN")
	}
	if err == nil {
		_, err = conns[0].Exec(ctx, "outboxd_try", pgx.QueryExecModeCacheStatement)
	}
	if isForeignStatement(err) {
		return domain.Wrap(domain.CodeInvalid, err, noPreparedStatements)
	}
	return Translate(err, doing)
}

// connect makes a connection outside the pool. It may lead another way than the
// pool's do, past a pooler or through one.
func (s *session) connect(ctx context.Context, config *pgx.ConnConfig) (*pgx.Conn, error) {
	s.mu.Lock()
	direct := &session{logger: s.logger, schema: s.schema, version: s.version, encoding: s.encoding, origin: s.origin, writable: s.writable}
	s.mu.Unlock()
	config = config.Copy()
	direct.prepare(config)
	conn, err := pgx.ConnectConfig(ctx, config)
	if direct.refused(err) {
		direct.prepare(config)
		conn, err = pgx.ConnectConfig(ctx, config)
	}
	return conn, err
}
