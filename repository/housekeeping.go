package repository

import (
	"context"
	"hash/fnv"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
)

// Housekeeping is the domain.Housekeeping.
type Housekeeping struct {
	db        *Database
	directURL string
}

// NewHousekeeping returns the housekeeping of db. directURL is as listenURL of
// NewPresence.
func NewHousekeeping(db *Database, directURL string) *Housekeeping {
	return &Housekeeping{db: db, directURL: directURL}
}

var _ domain.Housekeeping = (*Housekeeping)(nil)

// How often a process that does not lead asks whether it may, and one that
// leads asks whether it still does.
const (
	leadRetry = 5 * time.Second
	leadCheck = 20 * time.Second
)

// Lead implements domain.Housekeeping. The leader is who holds an advisory lock
// of PostgreSQL's, so leadership ends with the connection and never by a clock.
// The connection is its own: the lock of a pooled one would pass to its next
// user.
func (h *Housekeeping) Lead(ctx context.Context, work func(context.Context) error) error {
	conn, err := h.db.connectDirectly(ctx, h.directURL)
	if err != nil {
		return err
	}
	if err := h.awaitLock(ctx, conn); err != nil {
		hangUp(ctx, conn)
		return translate(err, "wait to lead")
	}
	ctx, lost := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		// Closing the connection gives the lock back.
		defer hangUp(ctx, conn)
		lost(translate(watch(ctx, conn), "keep leading"))
	}()
	defer func() { lost(nil); <-watched }()
	err = work(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil && domain.ErrorCode(cause) == domain.CodeUnavailable {
		return cause
	}
	return err
}

// awaitLock asks again and again rather than waiting inside PostgreSQL, where
// a statement that waits for hours would hold back vacuum.
func (h *Housekeeping) awaitLock(ctx context.Context, conn *pgx.Conn) error {
	schema, err := h.db.schema(ctx)
	if err != nil {
		return err
	}
	hash := fnv.New64a()
	hash.Write([]byte("outboxd housekeeping " + schema))
	lock := int64(hash.Sum64()) //nolint:gosec // any 64 bits will do
	retry := time.NewTicker(leadRetry)
	defer retry.Stop()
	for {
		var leads bool
		if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", lock).Scan(&leads); err != nil || leads {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-retry.C:
		}
	}
}

// watch returns when the connection is gone, or nil when ctx ends.
func watch(ctx context.Context, conn *pgx.Conn) error {
	check := time.NewTicker(leadCheck)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-check.C:
		}
		if err := pingSoon(ctx, conn); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

const trimInboxSQL = `
DELETE FROM inbox WHERE event_id = ANY(ARRAY(
    SELECT event_id FROM inbox WHERE processed_at < now() - $1 * interval '1 second' ORDER BY processed_at LIMIT $2))`

// TrimInbox implements domain.Housekeeping.
func (h *Housekeeping) TrimInbox(ctx context.Context, age time.Duration, limit int) (int64, error) {
	inbox, err := h.trim(ctx, "trim the inbox", trimInboxSQL, age.Seconds(), limit)
	if err != nil {
		return 0, err
	}
	journal, err := h.trim(ctx, "trim the journal", trimJournalSQL, age.Seconds(), limit)
	return max(inbox, journal), err
}

const trimKeysSQL = `
DELETE FROM idempotency_keys WHERE key = ANY(ARRAY(
    SELECT key FROM idempotency_keys WHERE created_at < now() - $1 * interval '1 second' ORDER BY created_at LIMIT $2))`

// TrimKeys implements domain.Housekeeping.
func (h *Housekeeping) TrimKeys(ctx context.Context, age time.Duration, limit int) (int64, error) {
	return h.trim(ctx, "trim the idempotency keys", trimKeysSQL, age.Seconds(), limit)
}

// TrimRelays implements domain.Housekeeping.
func (h *Housekeeping) TrimRelays(ctx context.Context, age time.Duration) error {
	_, err := h.trim(ctx, "forget relays", `DELETE FROM outbox_relays WHERE seen_at < now() - $1 * interval '1 second'`, age.Seconds())
	return err
}

func (h *Housekeeping) trim(ctx context.Context, doing, statement string, args ...any) (int64, error) {
	result, err := h.db.sql.ExecContext(ctx, statement, args...)
	if err != nil {
		return 0, translate(err, doing)
	}
	rows, err := result.RowsAffected()
	return rows, translate(err, doing)
}
