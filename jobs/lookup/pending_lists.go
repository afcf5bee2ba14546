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
	// pendingLife is how long a list that was read answers questions. Reading a
	// million IDs takes Redis a fraction of a second, so a great loss must not
	// read them for each batch.
	pendingLife = time.Minute
	// pendingSkew is by how much the clocks of those who enqueue may differ.
	// Whatever waits since later than that before a list was read may have come
	// into it meanwhile.
	pendingSkew = 10 * time.Second
)

// pendingLists remembers which tasks a queue's list had. It is read only where a
// task should have been taken out of a long list already, and was not: after a
// loss, or where clocks differ.
type pendingLists struct {
	mu   sync.Mutex // held while reading: whoever asks at the same time wants the same
	seed maphash.Seed
	of   map[string]pendingList
}

// pendingList holds hashes instead of IDs, sorted: 8 bytes for each task. Two
// tasks of one hash make a lost one count as there.
type pendingList struct {
	read   time.Time // when reading began
	hashes []uint64
}

// lack tells whether a task was certainly not in its queue's list while its hash
// said that it was.
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

// waitsSinceBefore is false if that is not known of a task.
func (q *Inquiry) waitsSinceBefore(t time.Time) bool {
	since, err := strconv.ParseInt(q.since, 10, 64)
	return err == nil && since < t.UnixNano()
}

// load reads a list from where tasks come in to where they are taken: they move
// that way, so none is passed over that stays.
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
