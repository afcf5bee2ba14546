package registration

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/alexedwards/argon2id"

	"outboxd/domain"
)

// The cost of one password hash: OWASP's recommendation for argon2id, which is 19 MiB of
// memory, two passes and one thread. One hash takes about 20 ms on one core.
const (
	hashMemoryKiB = 19 * 1024
	hashPasses    = 2
	hashThreads   = 1
	hashSaltBytes = 16
	hashKeyBytes  = 32
)

// waitingPerSlot is how many requests may wait for each slot. That is about how many
// passwords one slot can hash within two seconds.
const waitingPerSlot = 100

// Hasher hashes and checks passwords. Hasher limits how many passwords it processes at a
// time. Each password takes 19 MiB, so without the limit a burst of requests could use up
// all memory. Hasher is safe for concurrent use.
type Hasher struct {
	params  *argon2id.Params
	present chan struct{} // one element for each request that works or waits
	slots   chan struct{} // one element for each request that works
	// patience is how long a request may wait for a slot.
	patience time.Duration
}

// NewHasher returns a Hasher that hashes up to the given number of passwords at a time (0:
// one for each CPU that Go may use). 100 times as many requests may wait, each for at most
// the given time.
func NewHasher(concurrency int, patience time.Duration) *Hasher {
	if concurrency <= 0 {
		concurrency = runtime.GOMAXPROCS(0)
	}
	return &Hasher{
		params: &argon2id.Params{
			Memory: hashMemoryKiB, Iterations: hashPasses, Parallelism: hashThreads,
			SaltLength: hashSaltBytes, KeyLength: hashKeyBytes,
		},
		present:  make(chan struct{}, concurrency*(1+waitingPerSlot)),
		slots:    make(chan struct{}, concurrency),
		patience: patience,
	}
}

// Hash returns the argon2id hash of a password as a PHC string.
//
// Errors: domain.CodeUnavailable if too many requests wait, if this request waited
// longer than patience, or if ctx ended while it waited.
func (h *Hasher) Hash(ctx context.Context, password string) (hash string, err error) {
	err = h.limited(ctx, func() error {
		hash, err = argon2id.CreateHash(password, h.params)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("hash a password: %w", err)
	}
	return hash, nil
}

// Matches reports whether a hash was made from this password.
//
// Errors: the same as Hash, and an error without a code if the hash cannot be
// parsed.
func (h *Hasher) Matches(ctx context.Context, password, hash string) (match bool, err error) {
	err = h.limited(ctx, func() error {
		match, err = argon2id.ComparePasswordAndHash(password, hash)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("check a password: %w", err)
	}
	return match, nil
}

// limited waits for a slot and then calls the function work. limited does not interrupt
// it, because argon2 cannot be interrupted.
func (h *Hasher) limited(ctx context.Context, work func() error) error {
	select {
	case h.present <- struct{}{}:
		defer func() { <-h.present }()
	default:
		return busy(errors.New("the queue is full"))
	}
	ctx, cancel := context.WithTimeout(ctx, h.patience)
	defer cancel()
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return busy(ctx.Err())
	}
	return work()
}

func busy(cause error) error {
	return &domain.Error{
		Code: domain.CodeUnavailable, Message: "too many passwords are waiting to be hashed; try again later",
		RetryAfter: time.Second, Err: cause,
	}
}
