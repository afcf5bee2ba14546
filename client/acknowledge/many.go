package acknowledge

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// SendAll sends several acknowledgements in one round trip. SendAll returns an
// error or nil for each acknowledgement. An acknowledgement without a reply counts
// as not sent.
func SendAll(ctx context.Context, r redis.UniversalClient, list []Acknowledgement) []error {
	commands := make([]*redis.StringCmd, len(list))
	_, failed := r.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, a := range list {
			commands[i] = pipe.XAdd(ctx, a.entry())
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
