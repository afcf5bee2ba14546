package lookup

import (
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/jobs/broker"
)

const (
	// pendingChunk is the number of IDs of a list that are read in one round trip.
	pendingChunk = 10_000
	// pendingOverlap is how many IDs at the end of a chunk the next chunk reads again.
	pendingOverlap = 1000
	// pendingTries is how often a list is read at most, if many tasks are deleted from it
	// meanwhile.
	pendingTries = 3
	// pendingLife is how long a list may be used again after it was read. To read a million IDs
	// takes Redis a fraction of a second. After a great loss, a list must not be read again
	// for each batch.
	pendingLife = time.Minute
	// pendingSkew is how much the clock of this process and the clock of a process that
	// enqueued a task may differ. If a task began to wait less than pendingSkew before the
	// list was read, or later, it may have been added during the reading.
	pendingSkew = 10 * time.Second
)

// pendingLists keeps pending lists in memory, and uses each for at most pendingLife. A list is read
// only if it is long and the script has not found a pending task among those that are taken next.
// That happens after a loss, or if clocks differ.
type pendingLists struct {
	mu   sync.Mutex // held while reading, so that callers at the same time share one reading
	seed maphash.Seed
	of   map[string]pendingList
}

// pendingList has sorted hashes in the place of task IDs: 8 bytes for each task. If two
// tasks have the same hash, a lost task may count as there.
type pendingList struct {
	read   time.Time // when reading began
	hashes []uint64
}

// lack reports whether a task whose state was pending is missing in the pending list of its queue.
// A worker may have taken the task since.
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

// waitsSinceBefore reports whether the task began to wait before t. It returns false if
// that is not known.
func (q *Inquiry) waitsSinceBefore(t time.Time) bool {
	since, err := strconv.ParseInt(q.since, 10, 64)
	return err == nil && since < t.UnixNano()
}

// errShifted says that the first ID of a chunk of a list is not in the chunk before.
var errShifted = errors.New("the list of tasks that wait changes too fast to be read")

// load reads a list. Errors: those of the client, and errShifted.
func (p *pendingLists) load(ctx context.Context, client redis.UniversalClient, queue string) (list pendingList, err error) {
	for range pendingTries {
		if list, err = p.read(ctx, client, queue); !errors.Is(err, errShifted) {
			break
		}
	}
	return list, err
}

// read reads a list from the end at which tasks are added to the end at which workers take them. A
// task moves in this direction while others are added, and back when others are deleted. So each
// chunk must begin with an ID of the chunk before: then no task that stays in the list is missed.
func (p *pendingLists) read(ctx context.Context, client redis.UniversalClient, queue string) (pendingList, error) {
	list := pendingList{read: time.Now()}
	var before []string
	for begin := int64(0); ; begin += pendingChunk - pendingOverlap {
		ids, err := client.LRange(ctx, broker.PendingKey(queue), begin, begin+pendingChunk-1).Result()
		if err != nil {
			return list, err
		}
		if begin > 0 && (len(ids) == 0 || !slices.Contains(before, ids[0])) {
			return list, errShifted
		}
		for _, id := range ids {
			list.hashes = append(list.hashes, maphash.String(p.seed, id))
		}
		if len(ids) < pendingChunk {
			slices.Sort(list.hashes)
			return list, nil
		}
		before = ids
	}
}

func (p *pendingLists) forgetOld() {
	for queue, list := range p.of {
		if time.Since(list.read) > pendingLife {
			delete(p.of, queue)
		}
	}
}
