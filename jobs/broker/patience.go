package broker

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// silenceLasts is for how long exchanges fail at once after an exchange that got no answer. Then Redis is
// asked again, because some commands of outboxd read from Redis again and again.
const silenceLasts = 2 * time.Second

// silence is a hook for handles with Options.Patience. A command of outboxd makes several exchanges with Redis,
// one after another. If one gets no answer in time, the next ones fail with the same error, without waiting for
// Redis.
type silence struct {
	mu    sync.Mutex
	err   error
	until time.Time
}

var _ redis.Hook = (*silence)(nil)

// DialHook implements redis.Hook.
func (s *silence) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook.
func (s *silence) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := s.lasts(); err != nil {
			cmd.SetErr(err)
			return err
		}
		return s.note(next(ctx, cmd))
	}
}

// ProcessPipelineHook implements redis.Hook.
func (s *silence) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if err := s.lasts(); err != nil {
			for _, cmd := range cmds {
				cmd.SetErr(err)
			}
			return err
		}
		return s.note(next(ctx, cmds))
	}
}

// lasts returns the error of a recent exchange that got no answer.
func (s *silence) lasts() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().After(s.until) {
		return nil
	}
	return s.err
}

func (s *silence) note(err error) error {
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.err, s.until = err, time.Now().Add(silenceLasts)
	}
	return err
}
