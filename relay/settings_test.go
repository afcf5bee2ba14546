package relay_test

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/postgrestest"
	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/relay"
	"outboxd/repository"
	"outboxd/repository/deadletters"
	"outboxd/repository/examine"
	"outboxd/repository/heal"
	"outboxd/repository/postgres"
	"outboxd/repository/search"
	"outboxd/repository/upkeep"
)

var everySetting = flag.Bool("every-setting", false, "try each setting of roles and databases alone, and in more modes; by default several at once")

// textSettings and hostileSettings are settings that roles and databases may have for other work. Each is set for the
// role, and for the database too. textSettings concern how values look as text.
var textSettings = []string{
	"client_encoding = 'LATIN1'",
	"client_encoding = 'SQL_ASCII'",
	"DateStyle = 'German'",
	"DateStyle = 'SQL, DMY'",
	"DateStyle = 'Postgres, DMY'",
	"IntervalStyle = 'sql_standard'",
	"IntervalStyle = 'iso_8601'",
	"TimeZone = 'Europe/Amsterdam'",
	"TimeZone = 'Pacific/Apia'",
	"bytea_output = 'escape'",
	"extra_float_digits = -15",
}

var hostileSettings = []string{
	"standard_conforming_strings = off",
	"standard_conforming_strings = off; backslash_quote = off; escape_string_warning = on",
	"quote_all_identifiers = on",
	"array_nulls = off",
	"transform_null_equals = on",
	"client_min_messages = 'debug5'",
	"check_function_bodies = off",
	"default_transaction_isolation = 'serializable'",
	"default_transaction_isolation = 'repeatable read'",
	"default_transaction_read_only = on",
	"default_transaction_isolation = 'serializable'; default_transaction_read_only = on; default_transaction_deferrable = on",
	"statement_timeout = '5ms'",
	"lock_timeout = '1ms'",
	"idle_in_transaction_session_timeout = '10ms'",
	"idle_session_timeout = '50ms'",
	"statement_timeout = '20ms'; lock_timeout = '5ms'; idle_in_transaction_session_timeout = '20ms'; idle_session_timeout = '100ms'",
	"row_security = on",
	"synchronous_commit = off",
	"plan_cache_mode = 'force_generic_plan'",
	"plan_cache_mode = 'force_custom_plan'",
	"jit = on; jit_above_cost = 0; jit_optimize_above_cost = 0; jit_inline_above_cost = 0",
	"enable_indexscan = off; enable_indexonlyscan = off; enable_bitmapscan = off; enable_tidscan = off",
	"enable_seqscan = off; enable_nestloop = off; enable_hashjoin = off; enable_sort = off",
	"geqo_threshold = 2; join_collapse_limit = 1; from_collapse_limit = 1",
	"force_parallel_mode = on; parallel_setup_cost = 0; parallel_tuple_cost = 0; min_parallel_table_scan_size = 0",
	"work_mem = '64kB'; temp_buffers = 100; maintenance_work_mem = '1MB'",
	"constraint_exclusion = on; enable_partition_pruning = off",
	"search_path = 'nowhere'",
	"default_text_search_config = 'simple'; lc_messages = 'C'; xmloption = 'document'",
}

// execModes are all that --database-exec-mode offers.
var execModes = []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"}

// outboxd works under textSettings and hostileSettings, which a role and its database have. pgx's
// exec modes take turns. The settings that concern text run in a mode that sends values as text,
// and in one that does not.
func TestSettingsOfRolesAndDatabases(t *testing.T) {
	t.Parallel()
	works := func(settings, mode string) {
		t.Run(settings+" in "+mode, func(t *testing.T) {
			t.Parallel()
			list := strings.Split(settings, ";")
			h := servertest.Hostile{Role: list, Database: list}
			url := servertest.HostileDatabase(t, h)
			workUnder(t, url, url, mode, 'é', 'я', '中')
		})
	}
	for _, settings := range together(textSettings) {
		works(settings, "exec")
		works(settings, "cache_statement")
	}
	for i, settings := range together(hostileSettings) {
		works(settings, execModes[i%len(execModes)])
	}
}

// The function together joins settings that can be set at the same time: no parameter is twice in one result. A
// result has up to eight parameters, so that a failure still says where to look. With -every-setting, together
// joins nothing.
func together(settings []string) (joined []string) {
	if *everySetting {
		return settings
	}
	const most = 8
	names := func(settings string) (names []string) {
		for setting := range strings.SplitSeq(settings, ";") {
			name, _, _ := strings.Cut(setting, "=")
			names = append(names, strings.TrimSpace(name))
		}
		return names
	}
	for _, one := range settings {
		has := names(one)
		at := slices.IndexFunc(joined, func(other string) bool {
			taken := names(other)
			return len(taken)+len(has) <= most && !slices.ContainsFunc(has, func(name string) bool { return slices.Contains(taken, name) })
		})
		if at < 0 {
			joined = append(joined, one)
		} else {
			joined[at] += "; " + one
		}
	}
	return joined
}

// Through PgBouncer in transaction mode a connection is no session, and takes no parameters: each
// transaction sends its own settings.
func TestSettingsThroughPgBouncer(t *testing.T) {
	t.Parallel()
	for i, settings := range []string{
		"default_transaction_isolation = 'serializable'; default_transaction_read_only = on; default_transaction_deferrable = on",
		"statement_timeout = '20ms'; lock_timeout = '5ms'; idle_in_transaction_session_timeout = '20ms'",
		"DateStyle = 'SQL, DMY'; bytea_output = 'escape'; IntervalStyle = 'iso_8601'; TimeZone = 'Europe/Amsterdam'; array_nulls = off",
		"client_encoding = 'LATIN1'; extra_float_digits = -15; quote_all_identifiers = on",
		"enable_indexscan = off; enable_bitmapscan = off; plan_cache_mode = 'force_generic_plan'; row_security = on",
	} {
		modes := []string{execModes[1+i%4]}
		if *everySetting {
			modes = append(modes, execModes[1+(i+2)%4])
		}
		for _, mode := range modes {
			t.Run(settings+" in "+mode, func(t *testing.T) {
				t.Parallel()
				list := strings.Split(settings, ";")
				direct := servertest.HostileDatabase(t, servertest.Hostile{Role: list, Database: list})
				workUnder(t, direct, postgrestest.PgBouncer(t, direct), mode, 'é', '中')
			})
		}
	}
}

// By default outboxd prepares statements, which this PgBouncer does not keep.
func TestPgBouncerWithPreparedStatementsIsRefused(t *testing.T) {
	t.Parallel()
	_, err := postgres.Open(t.Context(), postgres.Options{
		URL: postgrestest.PgBouncer(t, schematest.Database(t)), MaxConns: 4, ConnectTimeout: 10 * time.Second, Logger: servertest.Logger(t),
	})
	if domain.ErrorCode(err) != domain.CodeInvalid || !strings.Contains(err.Error(), "--database-exec-mode=cache_describe") {
		t.Errorf("Open: %v", err)
	}
}

// Databases with encodings other than UTF8 work as far as they can store a
// text. A text that they cannot store is refused where it is written.
func TestEncodingsOfDatabases(t *testing.T) {
	t.Parallel()
	for encoding, letters := range map[string][]rune{"LATIN1": {'é'}, "SQL_ASCII": {'é', '中'}, "EUC_JP": {'中'}} {
		for _, mode := range []string{"cache_statement", "exec"} {
			t.Run(encoding+" in "+mode, func(t *testing.T) {
				t.Parallel()
				url := servertest.HostileDatabase(t, servertest.Hostile{Encoding: encoding})
				s := workUnder(t, url, url, mode, letters...)
				if encoding != "SQL_ASCII" {
					s.refuses()
				}
			})
		}
	}
}

// The method refuses checks that a producer is told at once that a value cannot be stored.
func (s *subject) refuses() {
	s.t.Helper()
	event := &domain.Event{Type: "test:🚀", Payload: []byte("{}")}
	err := repository.EmitAlone(s.t.Context(), s.own, event)
	if domain.ErrorCode(err) != domain.CodeInvalid || !strings.Contains(err.Error(), "cannot be stored") {
		s.t.Errorf("Emit: %v", err)
	}
}

// workUnder does some of everything that outboxd does, at url, with a producer
// who inherits the settings of the role at direct. letters are in the texts.
func workUnder(t *testing.T, direct, url, mode string, letters ...rune) *subject {
	t.Helper()
	db, err := postgres.Open(t.Context(), postgres.Options{
		URL: url, MaxConns: 8, ExecMode: mode, ConnectTimeout: 10 * time.Second, Logger: servertest.Logger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	w := newTown(t, direct, servertest.Redis(t), func(o *relay.Options) {
		store := repository.NewOutbox(db, repository.OutboxOptions{History: true})
		o.Store, o.Healing.Memory = store, heal.NewQueueMemory(db)
		o.Presence, o.Housekeeping = repository.NewPresence(db, direct), upkeep.NewHousekeeping(db, direct)
		o.Database = db.Ping
	})
	s := &subject{town: w, own: db, text: string(letters)}
	s.db = db
	retire := w.start()
	stop := w.work()
	s.produce(direct)
	w.eventually(s.effective, "SELECT count(*) FROM inbox")
	s.inOrder()
	stop()
	s.heal()
	s.bury()
	retire()
	s.doHousekeeping()
	s.show()
	s.verify()
	return s
}

// subject is a town whose database has unusual settings.
type subject struct {
	*town
	own       *postgres.Database
	text      string
	effective int // events that take effect
}

// produce emits events by plain SQL in the role's own session.
func (s *subject) produce(direct string) {
	s.t.Helper()
	config, err := pgx.ParseConfig(direct)
	if err != nil {
		s.t.Fatal(err)
	}
	// A producer whose role has such limits must switch them off, too.
	for _, name := range []string{"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"} {
		config.RuntimeParams[name] = "0"
	}
	conn := s.awake(config)
	defer conn.Close(s.t.Context())
	for _, statement := range []string{
		`SET client_encoding = 'UTF8'`, // the letters are as we write them
		`SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE`,
		`INSERT INTO outbox (event_type, payload, headers, queue, deadline, ordering_key, available_at)
			SELECT 'test:effect', convert_to('\ ' || n, 'UTF8'), '{"h":"` + s.text + `"}', 'default', '2100-01-01 00:00Z', 'key ` + s.text + `', '1900-01-01 00:00Z'
			FROM generate_series(1, 6) n ORDER BY n`,
		`SELECT outboxd.emit('test:effect', '{"a":"` + s.text + `"}', available_at => now() + interval '200 ms')`,
	} {
		if _, err := conn.Exec(s.t.Context(), statement, pgx.QueryExecModeSimpleProtocol); err != nil {
			s.t.Fatalf("%s: %v", statement, err)
		}
	}
	s.effective += 7
}

// awake returns a connection without idle_session_timeout, which PostgreSQL 13 does not
// have as a parameter of the connection. On a busy machine the role's own timeout of 50 ms
// may end the connection before its first statement.
func (s *subject) awake(config *pgx.ConnConfig) *pgx.Conn {
	s.t.Helper()
	for {
		conn, err := pgx.ConnectConfig(s.t.Context(), config)
		if err != nil {
			s.t.Fatal(err)
		}
		_, err = conn.Exec(s.t.Context(), `SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'`,
			pgx.QueryExecModeSimpleProtocol)
		if err == nil {
			return conn
		}
		const idleSessionTimeout = "57P05"
		if refused, ok := errors.AsType[*pgconn.PgError](err); !ok || refused.Code != idleSessionTimeout {
			s.t.Fatal(err)
		}
	}
}

// inOrder looks whether the events of the key took effect one after another.
func (s *subject) inOrder() {
	s.t.Helper()
	if n := s.count(`SELECT count(*) FROM (SELECT processed_at, lag(processed_at) OVER (ORDER BY s.ordering_position) AS before
		FROM outbox_sent s JOIN inbox i ON i.event_id = s.id WHERE s.ordering_key IS NOT NULL) AS x WHERE processed_at < before`); n != 0 {
		s.t.Errorf("%d events took effect before the one in front of them", n)
	}
}

// heal empties Redis, and waits until the relay has healed and all events have
// taken effect.
func (s *subject) heal() {
	s.t.Helper()
	s.watched()
	before := s.heals()
	s.exec(emitEffects, 20)
	s.eventually(0, "SELECT count(*) FROM outbox")
	if err := s.redis.FlushDB(s.t.Context()).Err(); err != nil {
		s.t.Fatal(err)
	}
	s.healed(before)
	s.work()
	s.effective += 20
	s.eventually(s.effective, "SELECT count(*) FROM inbox")
}

// bury lets events die and replays them, and buries one again. The reasons contain s.text.
func (s *subject) bury() {
	s.t.Helper()
	if err := s.redis.Set(s.t.Context(), "asynq:{broken}:pending", "x", 0).Err(); err != nil {
		s.t.Fatal(err)
	}
	s.exec(`INSERT INTO outbox (event_type, payload, queue, max_retry) VALUES ('test:dead', '\x00ff5c', 'broken', NULL), ('test:dead', '', 'broken', 3)`)
	s.eventually(2, "SELECT count(*) FROM outbox_dead")
	letters := deadletters.New(s.own)
	list, err := letters.List(s.t.Context(), domain.DeadFilter{}, domain.Cursor{}, 10)
	if err != nil || len(list) != 2 || time.Since(list[0].DiedAt).Abs() > time.Minute ||
		!slices.ContainsFunc(list, func(l domain.DeadLetter) bool { return string(l.Payload) == "\x00\xff\\" }) {
		s.t.Fatalf("dead letters %+v: %v", list, err)
	}
	if _, _, err := letters.Groups(s.t.Context(), domain.DeadFilter{}, 10); err != nil {
		s.t.Error(err)
	}
	if err := s.redis.Del(s.t.Context(), "asynq:{broken}:pending").Err(); err != nil {
		s.t.Fatal(err)
	}
	replayed, err := letters.Replay(s.t.Context(), &domain.Action{Actor: "Zoë 中", Reason: "„weil“ " + s.text}, domain.DeadFilter{}, 10)
	if err != nil || len(replayed) != 2 {
		s.t.Fatalf("replayed %+v: %v", replayed, err)
	}
	s.relay.Wake()
	s.eventually(2, "SELECT count(*) FROM outbox_sent WHERE event_type = 'test:dead' AND generation = 1")
	failed := deadletters.NewFailedTasks(s.own, false)
	task := domain.FailedTask{Event: domain.Event{ID: replayed[0].ID, Type: "test:dead", Queue: "broken", Generation: 1}, Err: fmt.Errorf("„nein“ 中 %s", s.text)}
	if _, err := failed.Bury(s.t.Context(), task, false); err != nil {
		s.t.Error(err)
	}
	s.eventually(1, "SELECT count(*) FROM outbox_dead WHERE stage = 'worker'")
}

// doHousekeeping does the leader's work on the tables once.
func (s *subject) doHousekeeping() {
	s.t.Helper()
	ctx, house := s.t.Context(), upkeep.NewHousekeeping(s.own, "")
	_, err := house.FoldAccount(ctx)
	errs := []error{err, house.KeepPartitions(ctx, time.Hour), house.TrimRelays(ctx, time.Hour)}
	_, err = house.TrimInbox(ctx, time.Hour, 10)
	errs = append(errs, err)
	_, _, err = house.Measure(ctx, domain.RelayProcess{ID: domain.ID{1}}, nil)
	errs = append(errs, err)
	_, _, _, err = house.AdvanceKeys(ctx, "", 10, true)
	errs = append(errs, err)
	_, err = house.Upkeep(ctx, time.Hour)
	errs = append(errs, err)
	for _, err := range errs {
		if err != nil {
			s.t.Error(err)
		}
	}
}

// show runs queries of the pages and commands.
func (s *subject) show() {
	s.t.Helper()
	ctx := s.t.Context()
	page, err := search.NewLives(s.own).Search(ctx, lives.Filter{OrderingKey: "key " + s.text}, domain.ID{}, 10)
	if err != nil || len(page.Events) != 6 {
		s.t.Fatalf("found %+v: %v", page.Events, err)
	}
	life, err := search.NewLives(s.own).Find(ctx, page.Events[0].ID)
	if err != nil || life.Headers["h"] != s.text || life.OrderingKey != "key "+s.text || life.Options.Deadline.Year() != 2100 ||
		time.Since(life.Event.CreatedAt).Abs() > time.Minute {
		s.t.Errorf("the life of an event is %+v: %v", life, err)
	}
	overviews := search.NewOverviews(s.own)
	s.answers(func() error { _, err := overviews.Standing(ctx); return err })
	s.answers(func() error { _, err := overviews.History(ctx, time.Hour, time.Minute); return err })
	s.answers(func() error { _, _, err := search.NewHeldKeys(s.own).List(ctx, nil, 10); return err })
	if _, err := examine.New(s.own, examine.Options{SnapshotAge: time.Hour, KeyAge: time.Hour, SlotBytes: 1 << 30, Now: time.Now}).Examine(ctx); err != nil {
		s.t.Error(err)
	}
}

// answers calls a look that ends itself after two seconds, again if a busy machine needs longer for it.
func (s *subject) answers(look func() error) {
	s.t.Helper()
	var err error
	servertest.Within(servertest.Patience, func() bool { err = look(); return domain.ErrorCode(err) != domain.CodeUnavailable })
	if err != nil {
		s.t.Error(err)
	}
}

// verify checks that the account adds up.
func (s *subject) verify() {
	s.t.Helper()
	auditor := search.NewAuditor(s.own)
	lines, err := auditor.Account(s.t.Context())
	if err != nil || len(lines) == 0 {
		s.t.Fatalf("account %+v: %v", lines, err)
	}
	for _, line := range lines {
		if line.Difference() != 0 {
			s.t.Errorf("the account has %+v", line)
		}
	}
	if broken, err := auditor.Violations(s.t.Context(), lines, 10); err != nil || len(broken) != 0 {
		s.t.Errorf("violations %+v: %v", broken, err)
	}
	// No worker serves the queue of the replayed event that was not buried again. After a minute it counts as unconfirmed.
	if lost, err := auditor.Unconfirmed(s.t.Context(), domain.ID{}, 10, []string{"test:dead"}); err != nil || len(lost) != 0 {
		s.t.Errorf("unconfirmed %+v: %v", lost, err)
	}
}
