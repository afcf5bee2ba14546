package repository_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/repository"
	"outboxd/repository/postgres"
)

// Pollers, consumers and producers at once, on few keys. Events are refused, answers are
// lost and relays are killed. Consumers may be faster than the relay's commit and get an
// event more than once.
func TestOrderHoldsWhileEverythingOverlaps(t *testing.T) {
	t.Parallel()
	const producers, pollers, consumers, each, keys = 4, 4, 4, 60, 7
	db := schematest.Open(t)
	exec(t, db, "CREATE TABLE counters (key text PRIMARY KEY, n int NOT NULL)")
	exec(t, db, "INSERT INTO counters SELECT 'key ' || n, 0 FROM generate_series(0, 6) AS n")
	exec(t, db, "CREATE TABLE effects (seq bigserial, key text, n int)")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	store := repository.NewOutbox(db, repository.OutboxOptions{History: true})

	// A number that a producer counts up under the key's lock follows the order
	// of the commits.
	var emitting sync.WaitGroup
	for p := range producers {
		emitting.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(p)))
			for range each {
				key := fmt.Sprintf("key %d", random.IntN(keys))
				tx := repository.Begin(ctx, db)
				emitter := repository.NewEmitter(tx, db.Schema())
				err := emitter.LockKey(ctx, key)
				var n int
				err = errors.Join(err, tx.Raw("UPDATE counters SET n = n + 1 WHERE key = ? RETURNING n", key).Scan(&n).Error)
				err = errors.Join(err, emitter.Emit(ctx, &domain.Event{Type: key, Payload: fmt.Append(nil, n), OrderingKey: key}))
				if err = errors.Join(err, tx.Commit().Error); err != nil {
					t.Errorf("emit: %v", err)
					return
				}
			}
		})
	}

	queue := make(chan domain.Event, 10_000) // stands for the queue in Redis
	working, finished := context.WithCancel(ctx)
	var work sync.WaitGroup
	for p := range pollers {
		work.Go(func() {
			random := rand.New(rand.NewPCG(2, uint64(p)))
			for working.Err() == nil {
				if err := pollOnce(working, store, random, queue); err != nil && working.Err() == nil {
					t.Errorf("poll: %v", err)
					return
				}
			}
		})
	}
	for range consumers {
		work.Go(func() {
			for {
				select {
				case <-working.Done():
					return
				case e := <-queue:
					if err := takeEffect(working, db, &e); err != nil && working.Err() == nil {
						t.Errorf("take effect: %v", err)
						return
					}
				}
			}
		})
	}
	emitting.Wait()
	// Housekeeping does not run, because nothing here may depend on it.
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for count(t, db, "SELECT count(*) FROM effects") < producers*each && ctx.Err() == nil && !t.Failed() {
		<-look.C
	}
	finished()
	work.Wait()

	if n := count(t, db, "SELECT count(*) FROM effects"); n != producers*each {
		t.Errorf("%d effects, want %d; held %d, turns %d, outbox %d", n, producers*each,
			count(t, db, "SELECT count(*) FROM outbox_held"), count(t, db, "SELECT count(*) FROM outbox_turns"), count(t, db, "SELECT count(*) FROM outbox"))
	}
	if n := count(t, db, `SELECT count(*) FROM (SELECT n, lag(n) OVER (PARTITION BY key ORDER BY seq) AS before FROM effects) AS e WHERE n <= before`); n != 0 {
		t.Errorf("%d effects came out of order", n)
	}
}

// pollOnce claims one batch and commits it, or releases it.
func pollOnce(ctx context.Context, store *repository.Outbox, random *rand.Rand, queue chan<- domain.Event) error {
	batch, err := store.Claim(ctx, domain.Cursor{}, 1+random.IntN(20))
	if err != nil || len(batch.Events()) == 0 {
		return err
	}
	defer func() { _ = batch.Release() }()
	outcomes := make([]domain.Outcome, len(batch.Events()))
	for i, e := range batch.Events() {
		switch random.IntN(8) {
		case 0:
			outcomes[i] = domain.Outcome{Verdict: domain.Refused, Err: errors.New("busy"), Delay: time.Millisecond}
		case 1:
			queue <- e // taken, but the answer was lost
		default:
			queue <- e
			outcomes[i].Verdict = domain.Delivered
		}
	}
	if random.IntN(8) == 0 {
		return nil // killed
	}
	return batch.Commit(context.WithoutCancel(ctx), outcomes)
}

// takeEffect is a consumer's transaction.
func takeEffect(ctx context.Context, db *postgres.Database, e *domain.Event) error {
	tx := repository.Begin(context.WithoutCancel(ctx), db)
	defer tx.Rollback()
	var first bool
	if err := tx.Raw("SELECT outboxd.confirm(?)", e.ID).Scan(&first).Error; err != nil || !first {
		return err
	}
	if err := tx.Exec("INSERT INTO effects (key, n) VALUES (?, ?::text::int)", e.OrderingKey, string(e.Payload)).Error; err != nil {
		return err
	}
	return tx.Commit().Error
}
