package acknowledge

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/client"
)

// Key is the key of the stream. The key begins like Asynq's keys, because some Redis users may access only keys that
// begin so.
const Key = "asynq:{outboxd}:acknowledged"

// The stream keeps only the newest acknowledgements, about a million at most. If none comes during an Await, those
// that are older than about an hour are removed. If an acknowledgement is trimmed before the outbox has read it, the
// event is sent again. The stream takes about 100 MB at most.
const (
	most = 1_000_000
	keep = time.Hour
)

// Header is the name of the task header that identifies the task's outbox. A copy of an outbox has another
// identity, unless it is a physical copy, such as a standby.
const Header = "outboxd-outbox"

// Acknowledgement says that an event took effect. An outbox ignores the
// acknowledgement if the outbox does not know the event, or if the field Outbox
// identifies another outbox.
type Acknowledgement struct {
	Event       client.ID
	Type, Queue string
	Outbox      string // the task's Header
}

// Start is the position in the stream before the first acknowledgement.
const Start = "0-0"

// End is the position in the stream after the newest acknowledgement.
const End = "end"

// Await returns up to limit acknowledgements after a position, and the next position. If there are none, Await waits
// for the first one, for at most the given time (0: without a limit). If the stream ends before the position,
// because Redis lost its data or was replaced, the next position is Start. With the position End, Await returns at
// once: no acknowledgement, and the position of the newest one.
//
// Ending the context does not end the waiting; closing the Redis client does.
func Await(ctx context.Context, r redis.UniversalClient, after string, limit int64, wait time.Duration) (list []Acknowledgement, next string, err error) {
	if after == End {
		last, err := last(ctx, r)
		return nil, last, err
	}
	if _, ok := parse(after); !ok {
		after = Start
	}
	streams, err := r.XRead(ctx, &redis.XReadArgs{Streams: []string{Key, after}, Count: limit, Block: wait}).Result()
	if errors.Is(err, redis.Nil) {
		next, err := rest(ctx, r, after)
		return nil, next, err
	}
	if err != nil {
		return nil, after, err
	}
	next = after
	for _, stream := range streams {
		for _, entry := range stream.Messages {
			if !less(next, entry.ID) {
				return nil, after, fmt.Errorf("the answer to XREAD has the ID %.60q, which does not come after %s", entry.ID, after)
			}
			next = entry.ID
			if a, ok := read(entry.Values); ok {
				list = append(list, a)
			}
		}
	}
	return list, next, nil
}

// rest is called after Await has waited and no acknowledgement has come. It trims the stream. It returns Start if
// the newest acknowledgement comes before the given position, and otherwise that position.
func rest(ctx context.Context, r redis.UniversalClient, after string) (next string, err error) {
	old := strconv.FormatInt(time.Now().Add(-keep).UnixMilli(), 10)
	if err := r.XTrimMinIDApprox(ctx, Key, old, 0).Err(); err != nil {
		return after, err
	}
	if after == Start {
		return after, nil
	}
	last, err := last(ctx, r)
	if err != nil {
		return after, err
	}
	if less(last, after) {
		return Start, nil
	}
	return after, nil
}

// last returns the position of the newest acknowledgement, or Start if there is none.
func last(ctx context.Context, r redis.UniversalClient) (string, error) {
	found, err := r.XRevRangeN(ctx, Key, "+", "-", 1).Result()
	switch {
	case err != nil:
		return End, err
	case len(found) == 0:
		return Start, nil
	}
	if _, ok := parse(found[0].ID); !ok {
		return End, fmt.Errorf("the answer to XREVRANGE is %.60q, which is no ID of an entry", found[0].ID)
	}
	return found[0].ID, nil
}

// read reads an entry of the stream; ok is false if the entry is no
// acknowledgement.
func read(values map[string]any) (a Acknowledgement, ok bool) {
	text := func(name string) string { value, _ := values[name].(string); return value }
	id, err := client.ParseID(text("event"))
	return Acknowledgement{id, text("type"), text("queue"), text("outbox")}, err == nil
}

// place is the position of an entry in the stream: its parsed ID.
type place struct{ millis, count uint64 }

func parse(text string) (p place, ok bool) {
	millis, count, found := strings.Cut(text, "-")
	if !found {
		return place{}, false
	}
	var errs [2]error
	p.millis, errs[0] = strconv.ParseUint(millis, 10, 64)
	p.count, errs[1] = strconv.ParseUint(count, 10, 64)
	return p, errors.Join(errs[:]...) == nil
}

// less reports whether position a is before position b; false if a or b is no valid
// ID of an entry.
func less(a, b string) bool {
	first, ok := parse(a)
	second, too := parse(b)
	return ok && too && (first.millis < second.millis || first.millis == second.millis && first.count < second.count)
}
