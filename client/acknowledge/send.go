package acknowledge

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"outboxd/client/redisreply"
)

// Send adds an acknowledgement to the stream. If Send returns no error, Redis has
// the acknowledgement.
func Send(ctx context.Context, r redis.UniversalClient, a Acknowledgement) error {
	return SendAll(ctx, r, []Acknowledgement{a})[0]
}

// SendAll sends several acknowledgements in one round trip. SendAll returns an
// error or nil for each acknowledgement. An acknowledgement without a reply counts
// as not sent.
//
// If Redis has reached its maxmemory, it refuses XADD. Then a second round trip sends the refused
// acknowledgements by fullScript. Otherwise no task would end whose event took effect, and Redis
// would stay full.
func SendAll(ctx context.Context, r redis.UniversalClient, list []Acknowledgement) []error {
	errs := add(ctx, r, list, func(pipe redis.Pipeliner, values []any) placed {
		return pipe.XAdd(ctx, &redis.XAddArgs{Stream: Key, MaxLen: most, Approx: true, Values: values})
	})
	var refused []Acknowledgement
	var places []int
	for i, a := range list {
		if redisreply.IsFull(errs[i]) {
			refused, places = append(refused, a), append(places, i)
		}
	}
	if len(refused) == 0 {
		return errs
	}
	again := add(ctx, r, refused, func(pipe redis.Pipeliner, values []any) placed {
		return textOf{fullScript.Eval(ctx, pipe, []string{Key}, append([]any{most}, values...)...)}
	})
	for i, err := range again {
		errs[places[i]] = err
	}
	return errs
}

// fullScript adds an entry also if Redis has reached its maxmemory. Redis then refuses a script's
// first write if that may need memory, and no later write. So the script trims the stream first.
//
// KEYS: the stream
// ARGV: about how many entries the stream keeps, then the fields of the entry
//
// Returns the entry's ID.
var fullScript = redis.NewScript(`
redis.call("XTRIM", KEYS[1], "MAXLEN", "~", ARGV[1])
return redis.call("XADD", KEYS[1], "*", unpack(ARGV, 2))`)

// Check returns an error if Redis would refuse an acknowledgement, for example because its user may
// not write to the stream. Check changes nothing. A Redis that has reached its maxmemory is no error;
// see SendAll.
func Check(ctx context.Context, r redis.UniversalClient) error {
	// No entry is before the first ID, so this trims nothing. Another kind of key is an error.
	if err := r.XTrimMinID(ctx, Key, Start).Err(); err != nil {
		return err
	}
	// Redis looks at the rights first, and then refuses this ID, because an entry must have a greater one.
	place, err := r.XAdd(ctx, &redis.XAddArgs{Stream: Key, ID: Start, Values: []any{"event", ""}}).Result()
	switch {
	case err == nil:
		return redisreply.Unexpected{To: "XADD with the ID " + Start, Reply: place}
	case redisreply.IsFull(err) || strings.Contains(err.Error(), "greater than "+Start):
		return nil
	default:
		return err
	}
}

// placed is a command whose reply is the ID of the new entry.
type placed interface{ Result() (string, error) }

// textOf is a command with any reply, of which a text is wanted.
type textOf struct{ *redis.Cmd }

func (c textOf) Result() (string, error) { return c.Text() }

// add sends one command for each acknowledgement, in one round trip.
func add(ctx context.Context, r redis.UniversalClient, list []Acknowledgement, send func(pipe redis.Pipeliner, values []any) placed) []error {
	commands := make([]placed, len(list))
	_, failed := r.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, a := range list {
			commands[i] = send(pipe, a.values())
		}
		return nil
	})
	errs := make([]error, len(list))
	for i, command := range commands {
		place, err := command.Result()
		if _, ok := parse(place); err == nil && !ok {
			if err = failed; err == nil {
				err = fmt.Errorf("the answer to XADD is %.60q, which is no ID of an entry", place)
			}
		}
		errs[i] = err
	}
	return errs
}

func (a Acknowledgement) values() []any {
	values := []any{"event", a.Event.String(), "type", a.Type, "queue", a.Queue}
	if a.Outbox != "" {
		values = append(values, "outbox", a.Outbox)
	}
	return values
}
