package relay_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"outboxd/domain"
	"outboxd/relay"
)

// witness stands between relays and their servers and changes nothing. It
// notes when each event was handed over, and how long claims and passes took.
type witness struct {
	mu        sync.Mutex
	committed map[string]time.Time // by event type; before it no event of that type was visible
	attempts  []attempt            // in the order in which they ended
	tried     map[string]int       // events that were tried at least once, by the first word of their type
	refused   int                  // attempts that were refused
	reached   time.Time            // the latest due time among the attempts
	sweeps    int
	sweep     time.Duration // the slowest scan from the beginning
	pass      time.Duration // the slowest pass, from its claim to its commit
}

// attempt is one event handed over once.
type attempt struct {
	kind       string // the event's type
	due, ended time.Time
}

func newWitness() *witness {
	return &witness{committed: map[string]time.Time{}, tried: map[string]int{}}
}

// watch puts the witness into a relay's way. One witness may watch several.
func (w *witness) watch(o *relay.Options) {
	o.Store, o.Publisher = watchedStore{o.Store, w}, watchedPublisher{o.Publisher, w}
}

// commits is called when the transaction that wrote the events of a type is
// about to commit.
func (w *witness) commits(kind string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.committed[kind] = time.Now()
}

// see calls the given function and returns its result. The function must not keep its
// argument.
func see[T any](w *witness, look func(*witness) T) T {
	w.mu.Lock()
	defer w.mu.Unlock()
	return look(w)
}

// The method waits returns, in order, how long due and visible events waited until Redis had
// answered: one figure for each attempt at an event whose type begins with word.
func (w *witness) waits(t *testing.T, word string) []time.Duration {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	var waits []time.Duration
	for _, a := range w.attempts {
		if firstWord(a.kind) != word {
			continue
		}
		ready := a.due
		if committed := w.committed[a.kind]; committed.After(ready) {
			ready = committed
		}
		waits = append(waits, a.ended.Sub(ready))
	}
	if len(waits) == 0 {
		t.Fatalf("no event of type %s was tried", word)
	}
	slices.Sort(waits)
	return waits
}

// slowest returns the longest time in which the relays made n attempts, whatever
// the events. The caller holds mu.
func (w *witness) slowest(n int) (longest time.Duration) {
	for i := range len(w.attempts) - n {
		longest = max(longest, w.attempts[i+n].ended.Sub(w.attempts[i].ended))
	}
	return longest
}

func firstWord(kind string) string {
	word, _, _ := strings.Cut(kind, ":")
	return word
}

type watchedPublisher struct {
	domain.Publisher
	w *witness
}

func (p watchedPublisher) Publish(ctx context.Context, events []domain.Event) []domain.Receipt {
	receipts := p.Publisher.Publish(ctx, events)
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	ended := time.Now()
	for i := range events {
		e := &events[i]
		p.w.attempts = append(p.w.attempts, attempt{e.Type, e.Available, ended})
		if e.Attempts == 0 {
			p.w.tried[firstWord(e.Type)]++
		}
		if !receipts[i].Received() {
			p.w.refused++
		}
		if e.Available.After(p.w.reached) {
			p.w.reached = e.Available
		}
	}
	return receipts
}

type watchedStore struct {
	domain.EventStore
	w *witness
}

func (s watchedStore) Claim(ctx context.Context, from domain.Cursor, limit int, except ...string) (domain.Batch, error) {
	begun := time.Now()
	batch, err := s.EventStore.Claim(ctx, from, limit, except...)
	if err != nil {
		return nil, err
	}
	took := time.Since(begun)
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if from == (domain.Cursor{}) {
		s.w.sweeps++
		s.w.sweep = max(s.w.sweep, took)
	}
	return watchedBatch{batch, s.w, begun}, nil
}

type watchedBatch struct {
	domain.Batch
	w     *witness
	begun time.Time
}

func (b watchedBatch) Commit(ctx context.Context, outcomes []domain.Outcome) error {
	err := b.Batch.Commit(ctx, outcomes)
	took := time.Since(b.begun)
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	b.w.pass = max(b.w.pass, took)
	return err
}
