package chaos

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"outboxd/domain"
)

// producerDuty is what a producer process has to know.
type producerDuty struct {
	Name, Database, Journal string
	Way                     string  // of producing; see ways
	Largest                 int     // events of one transaction at most
	Rate                    float64 // events a second; 0: as fast as possible
	Events                  int     // ends when that many have committed; 0: never
	Seed                    uint64
	Keyed                   bool // some events belong to keys
	Ordered                 bool // some events have an ordering key
	Wide                    bool // some events have other consumers, and some are taken back or moved
}

// entry is one event of a transaction.
type entry struct {
	ID      domain.ID // the database's, once the event is written
	Content content
	Ordered bool // Content.Key is its ordering key
	Type    string
	Delay   time.Duration // before it may be relayed
}

func (e *entry) queue() string {
	if e.Type == elsewhereType {
		return elsewhereQueue
	}
	return domain.DefaultQueue
}

func (e *entry) orderingKey() string {
	if e.Ordered {
		return e.Content.Key
	}
	return ""
}

// orderingKeysOf returns each ordering key of the events once, sorted: in the
// order in which they have to be locked.
func orderingKeysOf(events []entry) (keys []string) {
	for i := range events {
		if key := events[i].orderingKey(); key != "" {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

func (e *entry) payload() []byte {
	text, err := json.Marshal(e.Content)
	if err != nil {
		panic(err) // strings and a number
	}
	return text
}

// writer is one way of producing.
type writer interface {
	// transact writes the events, fills in their IDs, writes them into the ledger too, and makes
	// the changes. Then it commits or, if the parameter undo is true, rolls back.
	transact(ctx context.Context, producer string, events []entry, changes []change, undo bool) error
	// committed counts what the ledger has of a producer.
	committed(ctx context.Context, producer string) (int, error)
}

// The limits of a producer's habits.
const (
	transactionPatience = 20 * time.Second
	keyLength           = 40   // events that a key gets at most; ordering keys have no limit
	undone              = 0.03 // part of the transactions that are rolled back
	keyed               = 0.5  // part of the plain events without ordering key that belong to a key
	keysAtOnce          = 5    // how many such keys a producer uses at the same time
	ordered             = 0.25 // part of the events that have an ordering key
	orderingKeys        = 20   // which all producers share
)

// producer is a running producer.
type producer struct {
	*producerDuty
	writer  writer
	journal journal
	pace    *rate.Limiter
	random  *mathrand.Rand
	keys    [keysAtOnce]sequence
	nonce   int64       // Seq of the last event with an ordering key
	recent  []domain.ID // events that can be changed
}

// run produces until its share has committed, or ctx ends.
func (d *producerDuty) run(ctx context.Context) error {
	w, err := d.open(ctx)
	if err != nil {
		return err
	}
	journal, err := openJournal(d.Journal)
	if err != nil {
		return err
	}
	p := &producer{
		producerDuty: d, writer: w, journal: journal,
		pace: rate.NewLimiter(rate.Inf, d.Largest), random: mathrand.New(mathrand.NewPCG(d.Seed, 1)),
	}
	if d.Rate > 0 {
		p.pace.SetLimit(rate.Limit(d.Rate))
	}
	for ctx.Err() == nil {
		room := math.MaxInt
		if d.Events > 0 {
			committed, err := w.committed(ctx, d.Name)
			if err != nil {
				calm(ctx)
				continue
			}
			if room = d.Events - committed; room <= 0 {
				return nil
			}
		}
		if err := p.produce(ctx, room); err != nil {
			return err
		}
	}
	return nil
}

// produce writes one transaction after another. It ends when the given number of events have
// committed, when a transaction fails, or with ctx. It returns an error only if it cannot write the
// journal.
func (p *producer) produce(ctx context.Context, room int) error {
	for room > 0 {
		events := p.compose(room)
		if p.pace.WaitN(ctx, len(events)) != nil {
			return nil //nolint:nilerr // ctx has ended
		}
		undo := p.random.Float64() < undone
		attempt, cancel := context.WithTimeout(context.WithoutCancel(ctx), transactionPatience)
		err := p.writer.transact(attempt, p.Name, events, p.changes(), undo)
		cancel()
		if err != nil || undo {
			// A commit without an answer may still happen later. The events
			// after it must not share a sequence with it.
			p.keys = [keysAtOnce]sequence{}
		}
		mark := byte(markCommitted)
		switch {
		case err != nil:
			calm(ctx)
			return nil //nolint:nilerr // faults are what it lives with
		case undo:
			mark = markUndone
		default:
			room -= len(events)
			p.remember(events)
		}
		if err := p.journal.write(mark, events); err != nil {
			return err
		}
	}
	return nil
}

// compose makes the events of a transaction: in half of the transactions one event, otherwise any
// number up to Largest and up to the given number.
func (p *producer) compose(room int) []entry {
	n := 1
	if p.random.IntN(2) == 0 {
		n += p.random.IntN(min(p.Largest, room))
	}
	events := make([]entry, n)
	for i := range events {
		events[i].Content.Producer, events[i].Type = p.Name, taskType
		if p.Wide {
			p.widen(&events[i])
		}
		if p.Ordered && p.random.Float64() < ordered {
			p.nonce++
			events[i].Ordered, events[i].Content.Key, events[i].Content.Seq = true, orderingKey(p.random.IntN(orderingKeys)), p.nonce
			if events[i].Type == elsewhereType {
				events[i].Content.Key += elsewhereKey
			}
			continue
		}
		if p.Keyed && events[i].Type == taskType && events[i].Delay == 0 && p.random.Float64() < keyed {
			events[i].Content.Key, events[i].Content.Seq = p.keys[p.random.IntN(keysAtOnce)].next()
		}
	}
	// Sort the events by key: two transactions that lock keys in different orders can wait for each
	// other, and outboxd.emit locks a key when the first event of the key comes.
	slices.SortStableFunc(events, func(a, b entry) int { return strings.Compare(a.orderingKey(), b.orderingKey()) })
	return events
}

func orderingKey(n int) string { return fmt.Sprintf("ordered %02d", n+1) }

// calm waits a moment after an error, because servers are away for a while.
func calm(ctx context.Context) {
	pause := time.NewTimer(100 * time.Millisecond)
	defer pause.Stop()
	select {
	case <-ctx.Done():
	case <-pause.C:
	}
}

// sequence makes the keys of events that follow each other. The zero sequence
// begins a new key.
type sequence struct {
	key string
	seq int64
}

func (s *sequence) next() (key string, seq int64) {
	if s.key == "" || s.seq >= keyLength {
		s.key, s.seq = rand.Text(), 0
	}
	s.seq++
	return s.key, s.seq
}

// way is one way of producing.
type way struct {
	name    string
	largest int // transaction that makes sense, in events
	share   int // of a given number of events, relative to the other ways
	open    func(ctx context.Context, url string) (writer, error)
}

var ways = []way{
	{"go", 100, 1, openGo},
	{"outboxd.emit", 100, 1, openEmit},
	{"insert", 1000, 8, openInsert},
}

func (d *producerDuty) open(ctx context.Context) (writer, error) {
	for _, w := range ways {
		if w.name == d.Way {
			return w.open(ctx, d.Database)
		}
	}
	return nil, fmt.Errorf("there is no way %q of producing", d.Way)
}
