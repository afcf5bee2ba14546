package repository

import (
	"context"
	"fmt"

	"outboxd/repository/postgres"
)

// Bound is a share of a pool: all callers of Within together use at most a fixed number of
// connections at the same time. A caller that finds no free place waits in Within. If the caller
// waited in the pool, the relay, the leader and health checks would wait behind it. A Bound is
// safe for concurrent use.
type Bound struct{ places, own chan struct{} } // own: nil, except in a Bound that And returned

// NewBound returns a Bound of conns connections, at least one.
func NewBound(conns int) *Bound { return &Bound{places: make(chan struct{}, max(conns, 1))} }

// And returns a Bound that has the places of b, and the given number of places that b does not
// have. So a caller of the returned Bound finds a place even while callers of b use all places
// of b.
func (b *Bound) And(more int) *Bound {
	return &Bound{places: b.places, own: make(chan struct{}, more)}
}

// Within waits for a place and calls the function do, which may use one connection until it
// returns. The function must not call Within of the same Bound: it might wait for its own place.
// If ctx ends before a place is free, Within returns the error that a full pool would cause: with
// domain.CodeUnavailable after a deadline, without a code after a cancellation. The text doing
// says in this error what the caller was about to do. Otherwise Within returns the error of the
// function.
func (b *Bound) Within(ctx context.Context, doing string, do func() error) error {
	select {
	case b.places <- struct{}{}:
		defer func() { <-b.places }()
	case b.own <- struct{}{}:
		defer func() { <-b.own }()
	case <-ctx.Done():
		return postgres.TranslateWork(fmt.Errorf("wait for a connection: %w", ctx.Err()), doing)
	}
	return do()
}
