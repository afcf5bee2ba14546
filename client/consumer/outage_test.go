package consumer_test

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/redis/go-redis/v9"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"outboxd/client"
	"outboxd/client/acknowledge"
	"outboxd/client/consumer"
	"outboxd/client/gormoutbox"
)

// faulty is a database that fails on demand: when a transaction begins, or when an
// event is confirmed.
type faulty struct {
	consumer.Database[*sql.Tx]
	mu             sync.Mutex
	begin, confirm error
}

func (f *faulty) fail(begin, confirm error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.begin, f.confirm = begin, confirm
}

func (f *faulty) Begin(ctx context.Context) (consumer.Transaction[*sql.Tx], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.begin != nil {
		return nil, f.begin
	}
	tx, err := f.Database.Begin(ctx)
	return faultyTransaction{tx, f.confirm}, err
}

type faultyTransaction struct {
	consumer.Transaction[*sql.Tx]
	confirm error
}

func (t faultyTransaction) QueryRow(ctx context.Context, query string, arguments ...any) consumer.Row {
	if t.confirm != nil {
		return faultyRow{t.confirm}
	}
	return t.Transaction.QueryRow(ctx, query, arguments...)
}

type faultyRow struct{ err error }

func (r faultyRow) Scan(...any) error { return r.err }

func server(code string) error { return &pgconn.PgError{Code: code} }

// An error before the handler costs no attempt. This also holds if the error lasts
// longer than the task's time, and on the last attempt.
func TestWhatIsWrongBeforeTheHandlerCostsNoAttempt(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]struct{ begin, confirm error }{
		"it starts":              {begin: server("57P03")},
		"it cannot be reached":   {begin: &net.OpError{Op: "dial", Err: errors.New("connection refused")}},
		"an error of the driver": {begin: errors.New("server refused TLS connection")},
		"it is a standby":        {confirm: server("25006")},
		"a lock":                 {confirm: server("55P03")},
		"a broken connection":    {confirm: io.ErrUnexpectedEOF},
		"it has no right":        {confirm: server("42501")},
		"it is damaged":          {confirm: server("XX001")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			db := &faulty{Database: consumer.SQL(b.db)}
			db.fail(fault.begin, fault.confirm)
			b.serve(consumer.Handle(consumer.New[*sql.Tx](db, consumer.Options{}), func(context.Context, *sql.Tx, payment) error { return nil }))
			last, more := client.NewID().String(), client.NewID().String()
			// Waiting ends a tenth of the time before the task. A busy machine needs a second for that.
			b.enqueue(last, asynq.MaxRetry(0), asynq.Timeout(10*time.Second))
			b.enqueue(more, asynq.MaxRetry(5), asynq.Timeout(10*time.Second))
			for _, id := range []string{last, more} {
				if task := b.await(id, asynq.TaskStateRetry); task.Retried != 0 || !contains(task.LastErr, "nothing of the task was tried") {
					t.Errorf("charged %d attempts: %s", task.Retried, task.LastErr)
				}
			}
			db.fail(nil, nil)
			for _, id := range []string{last, more} {
				b.await(id, asynq.TaskStateCompleted)
			}
		})
	}
}

// GORM drops the error of a statement that cannot be prepared. It costs no attempt all the same, and
// Check returns it.
func TestAnErrorThatGORMDrops(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	db, err := gorm.Open(postgres.New(postgres.Config{Conn: b.db}), &gorm.Config{PrepareStmt: true})
	if err != nil {
		t.Fatal(err)
	}
	c := consumer.New(gormoutbox.Database(db), consumer.Options{Schema: "nowhere"})
	if err := c.Check(t.Context()); err == nil || !contains(err.Error(), `"nowhere"`) {
		t.Errorf("Check: %v", err)
	}
	b.serve(consumer.Handle(c, func(context.Context, *gorm.DB, payment) error { return nil }))
	id := client.NewID().String()
	b.enqueue(id, asynq.MaxRetry(0))
	if task := b.await(id, asynq.TaskStateRetry); task.Retried != 0 || !contains(task.LastErr, "nothing of the task was tried") {
		t.Errorf("charged %d attempts: %s", task.Retried, task.LastErr)
	}
}

// On the last attempt, Asynq's own server removes the task of an event whose handler could not run,
// because the relay sends the event again. Nobody would send the task of another program again.
func TestATaskOfAnotherProgramStays(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	db := &faulty{Database: consumer.SQL(b.db)}
	db.fail(nil, server("42501"))
	b.serveByAsynq(consumer.Handle(consumer.New[*sql.Tx](db, consumer.Options{PassOthers: true}), func(context.Context, *sql.Tx, payment) error { return nil }))
	event := client.NewID().String()
	b.enqueue(event, asynq.MaxRetry(0))
	eventually(t, "the event's task has left the queue", func() bool {
		_, err := b.inspector.GetTaskInfo("default", event)
		return errors.Is(err, asynq.ErrTaskNotFound)
	})
	db.fail(server("3D000"), nil)
	b.enqueue("not-an-event", asynq.MaxRetry(0))
	b.await("not-an-event", asynq.TaskStateArchived)
}

// serveByAsynq runs the handler on a server of plain Asynq, without Run.
func (b *bench) serveByAsynq(handler asynq.Handler) {
	b.t.Helper()
	s := asynq.NewServer(b.Redis(b.t), asynq.Config{IsFailure: consumer.IsFailure, TaskCheckInterval: 5 * time.Millisecond, LogLevel: asynq.FatalLevel})
	if err := s.Start(handler); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(s.Shutdown)
}

// If a worker cannot start, its error names what to change.
func TestRunSaysWhatToChange(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	right, ok := b.Redis(t).(asynq.RedisClientOpt)
	if !ok {
		t.Fatalf("a %T", b.Redis(t))
	}
	password, database, address := right, right, asynq.RedisClientOpt{Addr: "127.0.0.1"}
	password.Username, password.Password = "nobody", "wrong"
	database.DB = 1_000_000
	mux := asynq.NewServeMux()
	for name, c := range map[string]struct {
		connect asynq.RedisConnOpt
		config  asynq.Config
		handler asynq.Handler
		want    string
	}{
		"password": {password, asynq.Config{}, mux, "correct Username and Password"},
		"database": {database, asynq.Config{}, mux, "correct DB of the RedisConnOpt"},
		"address":  {address, asynq.Config{}, mux, "write Addr of the RedisConnOpt as host:port"},
		"handler":  {right, asynq.Config{}, nil, "the handler is nil"},
		"queue":    {right, asynq.Config{Queues: map[string]int{"": 1}}, mux, "a queue without a name"},
		"priority": {right, asynq.Config{Queues: map[string]int{"default": 0}}, mux, "no queue with a priority above 0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// A worker that starts in spite of the mistake runs until ctx ends.
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			c.config.LogLevel = asynq.FatalLevel
			if err := consumer.Run(ctx, c.connect, c.config, c.handler); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// Check finds the errors that would keep tasks waiting.
func TestCheckSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.exec("CREATE DATABASE elsewhere")
	other := *b.Outboxd
	other.DatabaseURL = replaceDatabase(b.DatabaseURL)
	own := other.DB(t)
	missing := other
	missing.DatabaseURL = strings.Replace(b.DatabaseURL, "@/outboxd?", "@/nowhere?", 1)
	remote, err := consumer.NewRemote(consumer.SQL(own), b.Redis(t), consumer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = remote.Close() })
	for _, c := range []struct {
		consumer *consumer.Consumer[*sql.Tx]
		want     string
	}{
		{consumer.New(consumer.SQL(b.db), consumer.Options{}), ""},
		{consumer.New(consumer.SQL(own), consumer.Options{}), "outboxd migrate up"},
		{consumer.New(consumer.SQL(missing.DB(t)), consumer.Options{}), "does not exist: correct its URL"},
		{consumer.New(consumer.SQL(b.db), consumer.Options{Schema: "nobody's"}), `"nobody's"`},
		{remote, "CreateInbox"},
	} {
		if err := c.consumer.Check(t.Context()); err == nil != (c.want == "") || err != nil && !contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	if err := remote.CreateInbox(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := remote.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if n := count(t, own, "SELECT count(*) FROM outboxd_inbox"); n != 0 {
		t.Error("Check left something behind")
	}
}

// Check finds what would keep Redis from accepting acknowledgements.
func TestCheckTriesTheAcknowledgements(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	connect, ok := b.Redis(t).(asynq.RedisClientOpt)
	if !ok {
		t.Fatalf("a %T", b.Redis(t))
	}
	r := redis.NewClient(&redis.Options{Network: connect.Network, Addr: connect.Addr})
	t.Cleanup(func() { _ = r.Close() })
	if err := r.Do(t.Context(), "ACL", "SETUSER", "billing", "on", ">secret", "~*", "&*", "+@all", "-xadd").Err(); err != nil {
		t.Fatal(err)
	}
	check := func(connect asynq.RedisConnOpt) error {
		c, err := consumer.NewRemote(consumer.SQL(b.db), connect, consumer.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.CreateInbox(t.Context()); err != nil {
			t.Fatal(err)
		}
		return c.Check(t.Context())
	}
	if err := check(connect); err != nil {
		t.Error(err)
	}
	if n := r.Exists(t.Context(), acknowledge.Key).Val(); n != 0 {
		t.Error("Check left something behind")
	}
	limited := connect
	limited.Username, limited.Password = "billing", "secret"
	if err := check(limited); err == nil || !contains(err.Error(), "ACL SETUSER") {
		t.Errorf("without the right to XADD: %v", err)
	}
	r.ConfigSet(t.Context(), "maxmemory", "1")
	if err := check(connect); err != nil {
		t.Errorf("a full Redis: %v", err)
	}
	r.ConfigSet(t.Context(), "maxmemory", "0")
	r.Set(t.Context(), acknowledge.Key, "no stream", 0)
	if err := check(connect); err == nil || !contains(err.Error(), acknowledge.Key) {
		t.Errorf("no stream: %v", err)
	}
}

// Check asks for rights only if the role lacks them.
func TestCheckNamesTheCause(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for code, missing := range map[string]bool{"42501": true, "55P03": false, "57P01": false} {
		db := &faulty{Database: consumer.SQL(b.db)}
		db.fail(nil, server(code))
		err := consumer.New[*sql.Tx](db, consumer.Options{Schema: "outboxd"}).Check(t.Context())
		if err == nil || contains(err.Error(), "GRANT") != missing {
			t.Errorf("%s: %v", code, err)
		}
	}
}
