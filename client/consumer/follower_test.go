package consumer_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hibiken/asynq"

	"outboxd/client"
	"outboxd/client/consumer"
)

// keyed is the consumer of a single ordering key. It writes an effect for each payment of a
// batch, in the order of the batch.
type keyed struct {
	mu    sync.Mutex
	sizes []int
	// The function disturb, unless nil, is called before the effects.
	disturb func(payments []payment) error
}

func (k *keyed) handle(ctx context.Context, tx *sql.Tx, payments []payment) error {
	k.mu.Lock()
	k.sizes = append(k.sizes, len(payments))
	k.mu.Unlock()
	if k.disturb != nil {
		if err := k.disturb(payments); err != nil {
			return err
		}
	}
	for i, event := range consumer.EventsOf(ctx) {
		if _, err := tx.ExecContext(ctx, "INSERT INTO public.effects (event_id, amount, attempt) VALUES ($1, $2, $3)", event.ID.String(), payments[i].Amount, event.Attempt); err != nil {
			return err
		}
	}
	return nil
}

// The method each handles a single payment as handle does, for HandleTogether.
func (k *keyed) each(ctx context.Context, tx *sql.Tx, p payment) error {
	return k.handle(ctx, tx, []payment{p})
}

// newKeyedBench emits events of one ordering key, and returns their IDs when the relay has
// handed over the first one. The others are held.
func newKeyedBench(t *testing.T, payloads ...any) (*bench, []string) {
	t.Helper()
	b := newBenchWith(t, "relay,monitor")
	b.exec("CREATE TABLE public.effects (event_id uuid NOT NULL UNIQUE, amount integer, attempt integer, n bigint GENERATED ALWAYS AS IDENTITY)")
	ids := make([]string, len(payloads))
	for i, payload := range payloads {
		ids[i] = b.emit(client.Event{Type: "test:effect", Payload: payload, OrderingKey: "k", Queue: "default"})
	}
	eventually(t, "the others are held, and there is a history for them", func() bool {
		return b.count("SELECT count(*) FROM outboxd.outbox_held, outboxd.outbox_queue_identity WHERE history_seconds > 0") == len(ids)-1
	})
	return b, ids
}

func amounts(n int) (payloads []any) {
	for i := range n {
		payloads = append(payloads, payment{i})
	}
	return payloads
}

// wantInOrder waits until n events took effect, and fails unless each did so once, in the
// order in which they were emitted.
func (b *bench) wantInOrder(n int) {
	b.t.Helper()
	eventually(b.t, fmt.Sprintf("%d events took effect", n), func() bool {
		return b.count("SELECT count(*) FROM effects JOIN outboxd.inbox USING (event_id)") >= n
	})
	if all := b.count("SELECT count(*) FROM effects"); all != n {
		b.t.Errorf("%d effects, want %d", all, n)
	}
	if late := b.count("SELECT count(*) FROM (SELECT amount < max(amount) OVER (ORDER BY n) AS late FROM effects) AS e WHERE late"); late > 0 {
		b.t.Errorf("%d effects came after one of a later event", late)
	}
}

// A key has one task in Redis. The batch of that task takes the key's next events from
// the database.
func TestABatchTakesTheNextEventsOfItsKey(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]func(*bench, *keyed) asynq.Handler{
		"batch": func(b *bench, k *keyed) asynq.Handler {
			return consumer.HandleBatch(consumer.New(consumer.SQL(b.db), consumer.Options{}), k.handle, consumer.Batch{Max: 15})
		},
		"together": func(b *bench, k *keyed) asynq.Handler {
			return consumer.HandleTogether(consumer.New(consumer.SQL(b.db), consumer.Options{}), k.each, consumer.Batch{Max: 15})
		},
		"as a role of a consumer": func(b *bench, k *keyed) asynq.Handler {
			own := b.billing()
			b.exec("GRANT ALL ON public.effects TO billing")
			return consumer.HandleBatch(consumer.New(consumer.SQL(own), consumer.Options{}), k.handle, consumer.Batch{Max: 15})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, ids := newKeyedBench(t, amounts(20)...)
			k := &keyed{}
			b.serve(handler(b, k))
			b.wantInOrder(len(ids))
			if n := b.count("SELECT count(DISTINCT xmin::text) FROM effects"); n != 2 {
				t.Errorf("%d transactions for 20 events in batches of 15, want 2", n)
			}
			if n := b.count("SELECT count(*) FROM outboxd.outbox_sent"); n != len(ids) {
				t.Errorf("%d events are in the history, want %d", n, len(ids))
			}
			if n := b.count("SELECT count(*) FROM effects WHERE attempt <> 1"); n > 0 {
				t.Errorf("%d events were told of an attempt other than the first", n)
			}
			k.mu.Lock()
			defer k.mu.Unlock()
			if name != "together" && !slices.Equal(k.sizes, []int{15, 5}) {
				t.Errorf("batches of %v", k.sizes)
			}
		})
	}
}

// A batch reads all its events at once. So large events make several batches.
func TestARunEndsAtALimitOfBytes(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 900<<10)
	payloads := make([]any, 12)
	for n := range payloads {
		payloads[n] = json.RawMessage(fmt.Sprintf(`{"Amount": %d, "Large": "%s"}`, n, large))
	}
	b, ids := newKeyedBench(t, payloads...)
	k := &keyed{}
	b.serve(consumer.HandleBatch(consumer.New(consumer.SQL(b.db), consumer.Options{}), k.handle, consumer.Batch{}))
	b.wantInOrder(len(ids))
	k.mu.Lock()
	defer k.mu.Unlock()
	if !slices.Equal(k.sizes, []int{6, 6}) { // five events with less than 4 MiB in four of them, behind the one with the task
		t.Errorf("batches of %v", k.sizes)
	}
}

// An event without a task fails twice, and each time lets its batch fail. Nothing takes
// effect twice, and the order holds.
func TestAnEventWithoutATaskFails(t *testing.T) {
	t.Parallel()
	b, ids := newKeyedBench(t, amounts(12)...)
	failures := 0
	k := &keyed{}
	k.disturb = func(payments []payment) error {
		if slices.Contains(payments, payment{5}) && failures < 2 {
			failures++
			return errors.New("not this one")
		}
		return nil
	}
	b.serve(consumer.HandleBatch(consumer.New(consumer.SQL(b.db), consumer.Options{}), k.handle, consumer.Batch{}))
	b.wantInOrder(len(ids))
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.sizes[0] != len(ids) || k.sizes[1] != 1 {
		t.Errorf("batches of %v: want all, and then the event with the task alone", k.sizes)
	}
}

// A run ends before an event whose payload cannot be decoded. That event gets a task,
// which is archived, and the key waits.
func TestARunEndsBeforeAStrangePayload(t *testing.T) {
	t.Parallel()
	b, ids := newKeyedBench(t, payment{0}, payment{1}, payment{2}, "strange", payment{4})
	k := &keyed{}
	b.serve(consumer.HandleBatch(consumer.New(consumer.SQL(b.db), consumer.Options{}), k.handle, consumer.Batch{}))
	b.await(ids[3], asynq.TaskStateArchived)
	b.wantInOrder(3)
	if n := b.count("SELECT count(*) FROM outboxd.outbox_held WHERE id = '" + ids[4] + "'"); n != 1 {
		t.Error("the event behind the strange one is not held any more")
	}
}

// A cancelled event is left out of the run.
func TestARunLeavesOutACancelledEvent(t *testing.T) {
	t.Parallel()
	b, ids := newKeyedBench(t, amounts(6)...)
	if b.count("SELECT count(*) FROM outboxd.cancel('"+ids[3]+"')") != 1 {
		t.Fatal("not cancelled")
	}
	k := &keyed{}
	b.serve(consumer.HandleBatch(consumer.New(consumer.SQL(b.db), consumer.Options{}), k.handle, consumer.Batch{}))
	b.wantInOrder(5)
	if n := b.count("SELECT count(*) FROM effects WHERE event_id = '" + ids[3] + "'"); n != 0 {
		t.Error("the cancelled event took effect")
	}
}

// Events of several types may come into one batch. Each takes effect once.
func TestABatchOfSeveralTypes(t *testing.T) {
	t.Parallel()
	b, ids := newKeyedBench(t, amounts(3)...)
	other := b.emit(client.Event{Type: "test:other", Payload: payment{9}, Queue: "default"})
	eventually(t, "both are in Redis", func() bool {
		info, err := b.inspector.GetQueueInfo("default")
		return err == nil && info.Pending == 2
	})
	k := &keyed{}
	b.serve(consumer.HandleBatch(consumer.New(consumer.SQL(b.db), consumer.Options{}), k.handle, consumer.Batch{}))
	eventually(t, "all took effect", func() bool {
		return b.count("SELECT count(*) FROM effects JOIN outboxd.inbox USING (event_id)") == len(ids)+1
	})
	if n := b.count("SELECT count(*) FROM effects WHERE event_id = '" + other + "'"); n != 1 {
		t.Errorf("%d effects of the other type", n)
	}
}
