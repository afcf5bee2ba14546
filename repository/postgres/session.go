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
	"outboxd/domain/smallfile"
)

// setting is a parameter of PostgreSQL that outboxd needs to have a certain value.
// outboxd sets it when a connection is made, or behind a pooler in each transaction. So its
// value overrides those of postgresql.conf, ALTER DATABASE and ALTER ROLE.
type setting struct {
	name, value string
	// The versions of PostgreSQL that have the parameter, written as server_version_num; 0:
	// no bound.
	since, before int
}

// sessionSettings has the settings of every session of outboxd, whatever the settings of
// its role and database are. The list has a setting if another value of it makes a
// statement fail, return something else, lock and wait differently, or read whole
// tables. The list does not have settings that only change estimates of costs and memory
// (work_mem, random_page_cost), or that an operator chooses (synchronous_commit,
// default_tablespace).
var sessionSettings = []setting{
	// Some exec modes send values as text, and some SQL functions get text in every mode.
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

	// A claim skips rows that other sessions have locked, and a confirmation waits for such
	// rows. Both need READ COMMITTED.
	{name: "default_transaction_isolation", value: "read committed"},
	{name: "default_transaction_deferrable", value: "off"},

	// outboxd limits the duration of its work by its own deadlines, and by timeouts that a
	// transaction sets for itself if the process could stop without dying. A timeout that is
	// meant for other work would end outboxd's work half-way, again and again.
	{name: "statement_timeout", value: "0"},
	{name: "lock_timeout", value: "0"},
	{name: "idle_in_transaction_session_timeout", value: "60000"},
	{name: "idle_session_timeout", value: "0", since: 14_00_00},
	{name: "transaction_timeout", value: "0", since: 17_00_00},

	// With row_security=off, PostgreSQL returns an error if a row-level policy would hide
	// rows. Without the error, hidden events would wait forever.
	{name: "row_security", value: "off"},

	// A claim finds its rows by an index and deletes them by tuple identifier. If a setting
	// forbids one of these plans, the claim may read the whole table.
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

// pooledParameters has the settings that PgBouncer accepts at the start of a connection
// and keeps for each client.
var pooledParameters = []string{"client_encoding", "DateStyle", "TimeZone", "standard_conforming_strings", "application_name"}

// The constant mark names a parameter that does nothing. outboxd sends it with the settings at the
// start of a connection: if the session has the mark, it also got the other settings. The mark is
// needed because some poolers drop parameters without an error.
const mark = "outboxd.session"

// The values of mark say which settings a connection was made with.
const (
	markFirst = "first" // the settings that every version has: the server's version was not known yet
	markKnown = "known" // all settings
)

func (s setting) known(version int) bool {
	return version >= s.since && (s.before == 0 || version < s.before)
}

// session has what the first connection learned about the server and about poolers on the
// way to it. It is safe for concurrent use.
type session struct {
	logger   *slog.Logger
	schema   string           // outboxd's schema
	url      string           // of the pool
	password smallfile.Secret // "": the URL's password

	mu sync.Mutex
	// pooled says that a pooler stands between outboxd and PostgreSQL, so a connection of
	// outboxd is not always the same session of PostgreSQL. Settings that were made at the
	// start of the connection may be lost, so each transaction sets its own.
	pooled   bool
	version  int    // as in server_version_num; 0: nothing was learned yet
	encoding string // of the database
	origin   bool   // session_replication_role must be set, and this role may set it
	writable bool   // readOnlyDefault must be set
}

// outboxd sets readOnlyDefault to off only if the role or the database makes sessions
// read-only. If the server's configuration makes sessions read-only, outboxd obeys:
// operators do that before another server takes over, and later writes would be lost. Behind
// a pooler each transaction is READ WRITE, because another client may have left the setting
// on in a session of the pooler.
const readOnlyDefault = "default_transaction_read_only"

// prepare adds the settings to config.
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
		// All exec modes except exec and simple_protocol first ask the server about a
		// statement. If the statement is sent alone, or in a batch with its own BEGIN, this
		// question comes before the transaction begins. Behind a pooler, another session may
		// answer the question, and that session may look in another schema.
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

// searchPath returns the search_path with which statements can use short names. The
// result of searchPath does not depend on the search_path of the URL, the role or the
// database. Temporary tables come last, so that none of them can hide one of outboxd's
// tables.
func (s *session) searchPath() string { return pgx.Identifier{s.schema}.Sanitize() + ", pg_temp" }

func isPooledParameter(name string) bool {
	for _, known := range pooledParameters {
		if strings.EqualFold(name, known) {
			return true
		}
	}
	return false
}

// refused reports whether a connection failed because a pooler does not accept the
// parameters that outboxd sends at the start of a connection. After such a failure, outboxd
// sends only the parameters that PgBouncer accepts. refused returns false if outboxd knew of
// the pooler before: then connecting again does not help.
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

// learn sets the settings of a new connection that did not get all of them at its start.
// Behind a pooler it sets none, because each transaction sets its own. On the first
// connection, it also asks the server for what later connections need: its version, whether
// a pooler is in between, and whether the settings session_replication_role and
// default_transaction_read_only must be changed.
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
	// learn uses no prepared statement, because behind a pooler another session may execute
	// it.
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

// pins returns the statement that sets all settings, for the transaction (local) or for the
// session. For a transaction, it leaves out the settings default_transaction_…, which have
// no effect on a transaction that has already begun.
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

// isPooled reports whether each transaction must set its own settings.
func (s *session) isPooled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pooled
}

// noPreparedStatements is the message for a pooler that executes a prepared
// statement in another session.
const noPreparedStatements = "a pooler such as PgBouncer in transaction mode leads to the database, and does not keep prepared statements: " +
	"use --database-exec-mode=cache_describe (OUTBOXD_DATABASE_EXEC_MODE, database.exec_mode)"

// isForeignStatement reports whether PostgreSQL looked for a prepared statement in
// another session than the one in which it was prepared.
func isForeignStatement(err error) bool {
	state := SQLState(err)
	return state == "26000" || state == "42P05"
}

// tryPreparedStatements tests whether a pooler keeps prepared statements: it prepares a
// statement on one connection, occupies the server session from another connection, and
// then executes the statement.
//
// Errors: domain.CodeInvalid if the server no longer knows the prepared statement.
func (s *session) tryPreparedStatements(ctx context.Context, pool *pgxpool.Pool) error {
	const doing = "try whether prepared statements are kept"
	config := pool.Config().ConnConfig
	var conns [2]*pgx.Conn
	for i := range conns {
		c := config.Copy()
		(&session{pooled: true}).prepare(c)
		if err := s.login(c); err != nil {
			return err
		}
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

// connect makes a connection outside the pool. The way to the server may lead through a
// pooler although the pool's way does not, or the other way round.
func (s *session) connect(ctx context.Context, config *pgx.ConnConfig) (*pgx.Conn, error) {
	s.mu.Lock()
	direct := &session{logger: s.logger, schema: s.schema, version: s.version, encoding: s.encoding, origin: s.origin, writable: s.writable}
	s.mu.Unlock()
	config = config.Copy()
	direct.prepare(config)
	if err := s.login(config); err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if direct.refused(err) {
		direct.prepare(config)
		conn, err = pgx.ConnectConfig(ctx, config)
	}
	return conn, err
}
