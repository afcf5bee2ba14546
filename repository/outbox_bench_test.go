package repository_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/repository"
	"outboxd/repository/postgres"
	"outboxd/repository/upkeep"
)

// The benchmarks work on a backlog that is renewed while no time is measured.
// An op is a full batch.
const (
	benchBatch   = 1000
	benchBacklog = 50 * benchBatch
)

// claims is a source of full batches, each after the one before, as a relay
// claims them.
type claims struct {
	b      *testing.B
	db     *postgres.Database
	store  *repository.Outbox
	left   int
	cursor domain.Cursor
}

func newClaims(b *testing.B, history bool) *claims {
	b.Helper()
	db := schematest.Open(b)
	if err := upkeep.NewHousekeeping(db, "").KeepPartitions(b.Context(), time.Hour); err != nil {
		b.Fatal(err)
	}
	return &claims{b: b, db: db, store: repository.NewOutbox(db, repository.OutboxOptions{History: history})}
}

// stock renews the backlog if all of it was claimed, so that the next batch is full.
func (c *claims) stock() {
	c.b.Helper()
	if c.left > 0 {
		return
	}
	for _, statement := range []string{
		"TRUNCATE outbox, outbox_sent, outbox_dead",
		fmt.Sprintf("INSERT INTO outbox (event_type, payload) SELECT 'bench:event', convert_to(repeat('x', 200), 'UTF8') FROM generate_series(1, %d)", benchBacklog),
		"VACUUM ANALYZE outbox",
		"CHECKPOINT",
	} {
		if _, err := c.db.SQL().ExecContext(c.b.Context(), statement); err != nil {
			c.b.Fatalf("%s: %v", statement, err)
		}
	}
	c.left, c.cursor = benchBacklog, domain.Cursor{}
}

func (c *claims) claim() domain.Batch {
	c.b.Helper()
	batch, err := c.store.Claim(c.b.Context(), c.cursor, benchBatch)
	if err != nil {
		c.b.Fatal(err)
	}
	events := batch.Events()
	if len(events) != benchBatch {
		c.b.Fatalf("claimed %d events, want %d", len(events), benchBatch)
	}
	c.left, c.cursor = c.left-len(events), events[len(events)-1].Cursor()
	return batch
}

func (c *claims) settle(batch domain.Batch, outcomes []domain.Outcome) {
	c.b.Helper()
	if err := batch.Commit(c.b.Context(), outcomes); err != nil {
		c.b.Fatal(err)
	}
}

// report prints what a batch took, and the rate.
func (c *claims) report(took time.Duration) {
	c.b.ReportMetric(float64(took.Nanoseconds())/float64(c.b.N), "ns/op")
	c.b.ReportMetric(float64(c.b.N)*benchBatch/took.Seconds(), "events/s")
}

// settled returns the outcomes of a batch: every oneIn-th event gets the verdict, and
// the others are delivered.
func settled(verdict domain.Verdict, oneIn int) []domain.Outcome {
	outcomes := make([]domain.Outcome, benchBatch)
	for i := range outcomes {
		outcomes[i].Verdict = domain.Delivered
		if oneIn > 0 && i%oneIn == 0 {
			outcomes[i] = domain.Outcome{Verdict: verdict, Err: errors.New("the queue refused it"), Delay: time.Hour}
		}
	}
	return outcomes
}

// BenchmarkClaim takes batches out of the outbox, from the cursor on.
func BenchmarkClaim(b *testing.B) {
	for _, history := range []bool{true, false} {
		b.Run(fmt.Sprintf("history=%t", history), func(b *testing.B) {
			c := newClaims(b, history)
			delivered := settled(domain.Delivered, 0)
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				b.StopTimer()
				c.stock()
				b.StartTimer()
				batch := c.claim()
				b.StopTimer()
				c.settle(batch, delivered)
				b.StartTimer()
			}
			b.StopTimer()
			c.report(b.Elapsed())
		})
	}
}

// BenchmarkCommit ends batches with a history. If all events were delivered,
// that is only a commit. Others go back to the outbox, or to the dead
// letters. The figures of -benchmem are those of claim and settle together.
func BenchmarkCommit(b *testing.B) {
	for _, outcome := range []struct {
		name    string
		verdict domain.Verdict
		oneIn   int
	}{{"delivered=100%", domain.Delivered, 0}, {"refused=10%", domain.Refused, 10}, {"dead=1%", domain.Dead, 100}} {
		b.Run(outcome.name, func(b *testing.B) {
			c := newClaims(b, true)
			outcomes := settled(outcome.verdict, outcome.oneIn)
			b.ResetTimer()
			// took is the time of settling alone. The benchmark's own timer also includes the claims:
			// settling is so short that with a timer of its own the benchmark asks for ten thousand batches.
			var took time.Duration
			for range b.N {
				b.StopTimer()
				c.stock()
				b.StartTimer()
				batch := c.claim()
				begun := time.Now()
				c.settle(batch, outcomes)
				took += time.Since(begun)
			}
			c.report(took)
		})
	}
}
