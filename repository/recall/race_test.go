package recall_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/repository"
	"outboxd/repository/confirm"
	"outboxd/repository/heal"
	"outboxd/repository/postgres"
	rt "outboxd/repository/repositorytest"
)

// Claims, confirmations, healing and cancellations happen at the same time and fail now
// and then, the queue loses tasks, and producers write events again, with other ordering
// keys. Each event ends with exactly one of an effect and a cancellation, and every
// answer is true.
func TestEveryEventTakesEffectOrIsCancelled(t *testing.T) {
	t.Parallel()
	const events, workers = 400, 3
	db := schematest.Open(t)
	rt.Exec(t, db, "CREATE TABLE effects (event_id uuid)")
	rt.Exec(t, db, `INSERT INTO outbox (event_type, payload, available_at, ordering_key)
		SELECT 'test', '', now() + (n % 20) * interval '20 ms', CASE WHEN n % 2 = 0 THEN 'key ' || n % 7 END FROM generate_series(1, $1) AS n`, events)
	rows, err := db.Pool().Query(t.Context(), "SELECT id FROM outbox")
	if err != nil {
		t.Fatal(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[[16]byte])
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	w := &world{
		db: db, store: repository.NewOutbox(db, repository.OutboxOptions{History: true}), queue: make(chan domain.ID, 100_000),
		answers: map[domain.ID]map[string]int{},
	}
	var work sync.WaitGroup
	together := func(seed uint64, do func(context.Context, *rand.Rand) error) {
		for n := range uint64(workers) {
			work.Go(func() {
				random := rand.New(rand.NewPCG(seed, n))
				for ctx.Err() == nil {
					if err := do(ctx, random); err != nil && ctx.Err() == nil {
						t.Errorf("worker %d of kind %d: %v", n, seed, err)
						return
					}
				}
			})
		}
	}
	together(1, w.poll)
	together(2, w.handle)
	together(3, func(ctx context.Context, random *rand.Rand) error {
		return w.cancel(ctx, random, ids[random.IntN(len(ids))])
	})
	var repeats atomic.Int64
	together(4, func(ctx context.Context, random *rand.Rand) error {
		if repeats.Add(1) > events {
			<-ctx.Done()
			return nil
		}
		return w.repeat(ctx, random, ids[random.IntN(len(ids))])
	})
	work.Go(func() {
		for ctx.Err() == nil {
			if _, err := heal.NewRedriver(db).Redrive(ctx, time.Hour); err != nil && ctx.Err() == nil {
				t.Errorf("heal: %v", err)
			}
		}
	})
	rt.Eventually(t, db, events, "SELECT (SELECT count(DISTINCT event_id) FROM effects) + (SELECT count(*) FROM outbox_cancelled)")
	stop()
	work.Wait()

	if n := rt.Count(t, db, "SELECT count(*) FROM effects JOIN outbox_cancelled ON id = event_id"); n != 0 {
		t.Errorf("%d events were cancelled and took effect", n)
	}
	if n := rt.Count(t, db, "SELECT count(*) - count(DISTINCT event_id) FROM effects"); n != 0 {
		t.Errorf("%d effects more than events", n)
	}
	told := map[string]int{}
	for id, answers := range w.answers {
		effects := rt.Count(t, db, "SELECT count(*) FROM effects WHERE event_id = $1", id)
		if answers["cancelled"] > 0 && effects > 0 || answers["confirmed"] > 0 && effects == 0 {
			t.Errorf("event %s has %d effects and was answered as %v", id, effects, answers)
		}
		for answer, n := range answers {
			told[answer] += n
		}
	}
	cancelled := rt.Count(t, db, "SELECT count(*) FROM outbox_cancelled")
	t.Logf("%d took effect, %d were cancelled; answers: %v", events-cancelled, cancelled, told)
	if cancelled == 0 || cancelled == events {
		t.Error("only one of both happened")
	}
	adds(t, db, int64(cancelled))
}

// world is a small outboxd: a relay, a queue, handlers, and producers who change
// their minds.
type world struct {
	db    *postgres.Database
	store *repository.Outbox
	queue chan domain.ID

	mu      sync.Mutex
	answers map[domain.ID]map[string]int // of transactions that committed
}

func (w *world) poll(ctx context.Context, random *rand.Rand) error {
	batch, err := w.store.Claim(ctx, domain.Cursor{}, 1+random.IntN(20))
	if err != nil || len(batch.Events()) == 0 {
		return err
	}
	outcomes := make([]domain.Outcome, len(batch.Events()))
	for i, e := range batch.Events() {
		if random.IntN(3) > 0 {
			if random.IntN(5) > 0 { // otherwise the queue loses it
				w.queue <- e.ID
			}
			outcomes[i].Verdict = domain.Delivered
		} else if random.IntN(2) == 0 {
			outcomes[i] = domain.Outcome{Verdict: domain.Refused, Err: errors.New("no"), Delay: time.Millisecond}
		}
	}
	if random.IntN(4) == 0 {
		return batch.Release() // as after a crash, behind the queue's answer
	}
	err = batch.Commit(context.WithoutCancel(ctx), outcomes)
	return errors.Join(err, batch.Release())
}

// handle takes a task and lets it take effect, or fail. A task that fails comes again.
func (w *world) handle(ctx context.Context, random *rand.Rand) error {
	var id domain.ID
	select {
	case <-ctx.Done():
		return nil
	case id = <-w.queue:
	}
	fails := errors.New("the handler fails")
	_, err := confirm.NewInbox(w.db).Process(ctx, id, func(ctx context.Context, tx domain.Effects) error {
		if _, err := tx.Tx().ExecContext(ctx, "INSERT INTO effects VALUES ($1)", id); err != nil {
			return err
		}
		if random.IntN(3) == 0 {
			return fails
		}
		return nil
	})
	if errors.Is(err, fails) || errors.Is(err, domain.ErrTooEarly) {
		w.queue <- id
		return nil
	}
	return err
}

// repeat writes the event again, or one that has a turn. It may be anywhere by now. The
// second row has one of the others' ordering keys, a key of its own, or none.
func (w *world) repeat(ctx context.Context, random *rand.Rand, id domain.ID) error {
	var key any
	switch random.IntN(3) {
	case 0:
		key = fmt.Sprint("key ", random.IntN(7))
	case 1:
		key = "of " + id.String()
	}
	_, err := w.db.Pool().Exec(ctx, `
		INSERT INTO outbox (id, event_type, payload, ordering_key, available_at)
		SELECT CASE WHEN $3 THEN coalesce((SELECT event_id FROM outbox_turns ORDER BY random() LIMIT 1), $1) ELSE $1 END, 'test', '', $2, now() + random() * interval '100 ms'
		ON CONFLICT DO NOTHING`, [16]byte(id), key, random.IntN(2) == 0)
	return err
}

func (w *world) cancel(ctx context.Context, random *rand.Rand, id domain.ID) error {
	if random.IntN(3) > 0 {
		id = domain.ID{} // most of the time it only looks, so that some events live
	}
	tx, err := w.db.Pool().Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	var answer string
	if err := tx.QueryRow(ctx, "SELECT outboxd.cancel($1)", [16]byte(id)).Scan(&answer); err != nil {
		return err
	}
	if random.IntN(3) == 0 {
		return nil
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.answers[id] == nil {
		w.answers[id] = map[string]int{}
	}
	w.answers[id][answer]++
	return nil
}
