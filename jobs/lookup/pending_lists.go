package lookup

import (
	"context"
	"hash/maphash"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/jobs/broker"
)

const (
	// pendingChunk is how many IDs of a list are read in one round trip.
	pendingChunk = 10_000
	// pendingLife is how long a list that was read is reused. Reading a million
	// IDs takes Redis a fraction of a second, so after a great loss it must not
	// be read for each batch.
	pendingLife = time.Minute
	// pendingSkew is how far the clocks of publishers may differ. A task that
	// began to wait later than this before the list was read may have been
	// added during the reading.
	pendingSkew = 10 * time.Second
)

// pendingLists caches the tasks of queues' lists. A list is read only if a task
// should have been taken from a long list already and was not: after a loss, or
// if clocks differ.
type pendingLists struct {
	mu   sync.Mutex // held while reading, so that callers at the same time share it
	seed maphash.Seed
	of   map[string]pendingList
}

// pendingList has sorted hashes instead of IDs: 8 bytes for each task. If two
// tasks have the same hash, a lost one may count as there.
type pendingList struct {
	read   time.Time // when reading began
	hashes []uint64
}

// lack reports whether a task was certainly not in its queue's list, although
// its state says pending.
func (p *pendingLists) lack(ctx context.Context, client redis.UniversalClient, q *Inquiry) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil {
		p.seed, p.of = maphash.MakeSeed(), map[string]pendingList{}
	}
	list, found := p.of[q.Queue]
	if !found || time.Since(list.read) > pendingLife || !q.waitsSinceBefore(list.read.Add(-pendingSkew)) {
		var err error
		if list, err = p.load(ctx, client, q.Queue); err != nil {
			return false, broker.Unavailable("read the tasks that wait", err)
		}
		p.of[q.Queue] = list
		p.forgetOld()
	}
	_, found = slices.BinarySearch(list.hashes, maphash.String(p.seed, q.TaskID))
	return !found, nil
}

// waitsSinceBefore reports whether a task began to wait before t; false if not
// known.
func (q *Inquiry) waitsSinceBefore(t time.Time) bool {
	since, err := strconv.ParseInt(q.since, 10, 64)
	return err == nil && since < t.UnixNano()
}

// load reads a list from the end where tasks are added to the end where they
// are taken. Tasks move in that direction, so it misses none that stays.
func (p *pendingLists) load(ctx context.Context, client redis.UniversalClient, queue string) (pendingList, error) {
	list := pendingList{read: time.Now()}
	for begin := int64(0); ; begin += pendingChunk {
		ids, err := client.LRange(ctx, broker.PendingKey(queue), begin, begin+pendingChunk-1).Result()
		if err != nil {
			return list, err
		}
		for _, id := range ids {
			list.hashes = append(list.hashes, maphash.String(p.seed, id))
		}
		if len(ids) < pendingChunk {
			slices.Sort(list.hashes)
			return list, nil
		}
	}
}

func (p *pendingLists) forgetOld() {
	for queue, list := range p.of {
		if time.Since(list.read) > pendingLife {
			delete(p.of, queue)
		}
	}
}
