package consumer_test

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"outboxd/client"
	"outboxd/client/consumer"
	"outboxd/client/gormoutbox"
	"outboxd/client/pgxoutbox"
)

// lines are the connections to a database. A line that is silent accepts what is written,
// but nothing arrives.
type lines struct {
	mu  sync.Mutex
	all []*line
}

type line struct {
	net.Conn
	silent atomic.Bool
}

func (l *line) Write(p []byte) (int, error) {
	if l.silent.Load() {
		return len(p), nil
	}
	return l.Conn.Write(p)
}

func (l *lines) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, &line{Conn: conn})
	return l.all[len(l.all)-1], nil
}

// silence makes all present lines silent. Later ones work.
func (l *lines) silence() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, one := range l.all {
		one.silent.Store(true)
	}
}

func (l *lines) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, one := range l.all {
		_ = one.Close()
	}
}

// sql opens a database that has one connection.
func (l *lines) sql(b *bench) *sql.DB {
	b.t.Helper()
	config, err := pgx.ParseConfig(b.DatabaseURL)
	if err != nil {
		b.t.Fatal(err)
	}
	config.DialFunc = l.dial
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(1)
	b.t.Cleanup(func() { l.cut(); _ = db.Close() })
	return db
}

// pgx opens a pool that has one connection.
func (l *lines) pgx(b *bench) *pgxpool.Pool {
	b.t.Helper()
	config, err := pgxpool.ParseConfig(b.DatabaseURL)
	if err != nil {
		b.t.Fatal(err)
	}
	config.ConnConfig.DialFunc, config.MaxConns = l.dial, 1
	pool, err := pgxpool.NewWithConfig(b.t.Context(), config)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { l.cut(); pool.Close() })
	return pool
}

// silenceOnce fails its first call, whose transaction never gets an answer again.
func silenceOnce[Tx, T any](l *lines) func(context.Context, Tx, T) error {
	var called atomic.Bool
	return func(context.Context, Tx, T) error {
		if called.CompareAndSwap(false, true) {
			l.silence()
			return errors.New("no effect")
		}
		return nil
	}
}

// A handler fails, and the database does not answer the rollback. The handler's place and
// the only connection of the pool are free again long before the task's deadline.
func TestARollbackThatIsNotAnswered(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]func(b *bench, l *lines) asynq.Handler{
		"pgx": func(b *bench, l *lines) asynq.Handler {
			return consumer.Handle(consumer.New(pgxoutbox.Database(l.pgx(b)), consumer.Options{}), silenceOnce[pgx.Tx, payment](l))
		},
		"database/sql": func(b *bench, l *lines) asynq.Handler {
			return consumer.Handle(consumer.New(consumer.SQL(l.sql(b)), consumer.Options{}), silenceOnce[*sql.Tx, payment](l))
		},
		"GORM": func(b *bench, l *lines) asynq.Handler {
			db, err := gorm.Open(postgres.New(postgres.Config{Conn: l.sql(b)}))
			if err != nil {
				b.t.Fatal(err)
			}
			return consumer.Handle(consumer.New(gormoutbox.Database(db), consumer.Options{}), silenceOnce[*gorm.DB, payment](l))
		},
		"a batch": func(b *bench, l *lines) asynq.Handler {
			return consumer.HandleBatch(consumer.New(pgxoutbox.Database(l.pgx(b)), consumer.Options{}), silenceOnce[pgx.Tx, []payment](l), consumer.Batch{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, l := newBench(t), &lines{}
			id := b.emit(client.Event{Type: "test:effect"})
			b.serve(handler(b, l))
			b.enqueue(id, asynq.MaxRetry(5))
			b.await(id, asynq.TaskStateCompleted)
		})
	}
}
