package consumer_test

import (
	"context"
	"database/sql"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/client"
	"outboxd/client/consumer"
)

// togetherEffects writes an effect for its event, and fails at the amount 13.
type togetherEffects struct {
	mu    sync.Mutex
	calls []string // the IDs of the events, in the order of the calls
}

func (e *togetherEffects) handle(ctx context.Context, tx *sql.Tx, p payment) error {
	id := consumer.EventOf(ctx).ID.String()
	e.mu.Lock()
	e.calls = append(e.calls, id)
	e.mu.Unlock()
	if _, err := tx.ExecContext(ctx, insertEffect, id, p.Amount); err != nil {
		return err
	}
	if p.Amount == 13 {
		return errors.New("not this one")
	}
	return nil
}

// newTogetherBench emits as many events as the worker has places, and returns their IDs in
// order.
func newTogetherBench(t *testing.T) (*bench, *togetherEffects, []string) {
	t.Helper()
	b := newBench(t)
	b.exec("CREATE TABLE effects (event_id uuid NOT NULL UNIQUE, amount integer)")
	ids := make([]string, 4)
	for i := range ids {
		ids[i] = b.emit(client.Event{Type: "test:effect"})
	}
	slices.Sort(ids)
	return b, &togetherEffects{}, ids
}

// The four tasks in the worker's four places share a transaction, and the handler sees
// their events in order.
func TestEventsShareATransaction(t *testing.T) {
	t.Parallel()
	b, effects, ids := newTogetherBench(t)
	for _, id := range slices.Backward(ids) {
		b.pay(id, `{"Amount": 7}`)
	}
	b.serve(consumer.HandleTogether(consumer.New(consumer.SQL(b.db), consumer.Options{}), effects.handle, consumer.Batch{Wait: time.Hour}))
	for _, id := range ids {
		b.await(id, asynq.TaskStateCompleted)
	}
	if n := b.count("SELECT count(*) FROM effects JOIN outboxd.inbox USING (event_id)"); n != len(ids) {
		t.Errorf("%d effects, want %d", n, len(ids))
	}
	if n := b.count("SELECT count(DISTINCT xmin::text) FROM effects"); n != 1 {
		t.Errorf("%d transactions wrote the effects, want 1", n)
	}
	effects.mu.Lock()
	defer effects.mu.Unlock()
	if !slices.Equal(effects.calls, ids) {
		t.Errorf("handled %v, want %v", effects.calls, ids)
	}
}

// One event that fails costs the others neither their effect nor an attempt: each of their tasks
// has only one.
func TestOneBadEventAmongEventsThatShareATransaction(t *testing.T) {
	t.Parallel()
	b, effects, ids := newTogetherBench(t)
	for i := range ids {
		b.pay(ids[i], map[bool]string{true: `{"Amount": 13}`, false: `{"Amount": 7}`}[i == 2])
	}
	b.serve(consumer.HandleTogether(consumer.New(consumer.SQL(b.db), consumer.Options{}), effects.handle, consumer.Batch{Wait: time.Hour}))
	for i, id := range ids {
		b.await(id, map[bool]asynq.TaskState{true: asynq.TaskStateArchived, false: asynq.TaskStateCompleted}[i == 2])
	}
	if n := b.count("SELECT count(*) FROM effects JOIN outboxd.inbox USING (event_id) WHERE amount = 7"); n != 3 {
		t.Errorf("%d effects, want 3", n)
	}
	if n := b.count("SELECT (SELECT count(*) FROM effects) + (SELECT count(*) FROM outboxd.inbox)"); n != 6 {
		t.Errorf("%d effects and confirmed events, want 3 and 3", n)
	}
	effects.mu.Lock()
	defer effects.mu.Unlock()
	// Three in the batch, up to the bad one, and each of the four alone.
	if len(effects.calls) != 7 || !slices.Equal(effects.calls[:3], ids[:3]) {
		t.Errorf("handled %v of %v", effects.calls, ids)
	}
}

// farDatabase is a database whose statements take a network's time.
type farDatabase struct{ consumer.Database[*sql.Tx] }

func (d farDatabase) Begin(ctx context.Context) (consumer.Transaction[*sql.Tx], error) {
	tx, err := d.Database.Begin(ctx)
	return farTransaction{tx}, err
}

type farTransaction struct {
	consumer.Transaction[*sql.Tx]
}

func (t farTransaction) QueryRow(ctx context.Context, query string, arguments ...any) consumer.Row {
	<-time.After(2 * time.Millisecond)
	return t.Transaction.QueryRow(ctx, query, arguments...)
}

// A database that is far away has more batches at the same time than there are processors: as
// many as have to meet here before any of them ends.
func TestMoreBatchesRunForADatabaseThatIsFarAway(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	together := max(runtime.GOMAXPROCS(0), 2) + 1
	var met atomic.Int64
	all := make(chan struct{})
	c := consumer.New(consumer.Database[*sql.Tx](farDatabase{consumer.SQL(b.db)}), consumer.Options{})
	b.serveAtOnce(together, consumer.HandleTogether(c, func(ctx context.Context, _ *sql.Tx, p payment) error {
		if p.Amount == 0 {
			return nil
		}
		if met.Add(1) == int64(together) {
			close(all)
		}
		select {
		case <-all:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}, consumer.Batch{Max: 1}))
	pay := func(events int, payload string) {
		ids := make([]string, events)
		for i := range ids {
			ids[i] = b.emit(client.Event{Type: "test:effect"})
			b.pay(ids[i], payload)
		}
		for _, id := range ids {
			b.await(id, asynq.TaskStateCompleted)
		}
	}
	pay(8, `{"Amount": 0}`) // their batches measure the round trip
	pay(together, `{"Amount": 7}`)
}
