package upkeep

import (
	"context"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"outboxd/domain"
	"outboxd/repository/postgres"
)

// leaderTerms are how long a leader may be silent, how often it speaks, and how
// often other processes ask for the lock.
type leaderTerms struct {
	// silence is how long PostgreSQL waits for the leader's next message. Then
	// it ends the session, and with it the lock.
	silence time.Duration
	word    time.Duration // between two messages of the leader; much shorter than silence
	retry   time.Duration // between two requests of a process that does not lead
}

// LeaderInterval is the time between two messages of the leader.
const LeaderInterval = 10 * time.Second

// After a leader falls silent, another process leads within silence plus retry.
var defaultLeaderTerms = leaderTerms{silence: 30 * time.Second, word: LeaderInterval, retry: 5 * time.Second}

// leader is the database session that holds the lock.
type leader struct {
	terms leaderTerms

	mu   sync.Mutex
	conn *pgx.Conn
	last time.Time // when the last message that was answered was sent
}

// Lead implements domain.Housekeeping. The leader holds an advisory lock of
// PostgreSQL, so leadership ends with the session. The session is not one of the
// pool, because the lock would pass to the session's next user.
//
// A process that is suspended, or cut off by the network, keeps its connection,
// for two hours by the kernel's defaults. So the session is always in a
// transaction, and idle_in_transaction_session_timeout, which every version has,
// ends it. The transaction has no snapshot and no ID, so it holds back nothing.
// Each message begins a new one, so it never looks forgotten. Behind a PgBouncer
// in transaction mode it also keeps the server's session ours.
func (h *Housekeeping) Lead(ctx context.Context, work func(context.Context, domain.StillLeads) error) error {
	conn, err := h.db.ConnectDirectly(ctx, h.directURL)
	if err != nil {
		return err
	}
	l := &leader{terms: h.terms, conn: conn}
	if err := h.awaitLock(ctx, l); err != nil {
		postgres.HangUp(ctx, conn)
		return postgres.Translate(err, "wait to lead")
	}
	ctx, lost := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		// Closing the connection releases the lock.
		defer l.resign(ctx)
		lost(postgres.Translate(l.watch(ctx), "keep leading"))
	}()
	defer func() { lost(nil); <-watched }()
	err = work(ctx, l.still)
	if cause := context.Cause(ctx); err != nil && cause != nil && domain.ErrorCode(cause) == domain.CodeUnavailable {
		return cause
	}
	return err
}

// LeaderLock returns the key of the leader's lock in a schema.
func LeaderLock(schema string) int64 {
	hash := fnv.New64a()
	hash.Write([]byte("outboxd housekeeping " + schema))
	return int64(hash.Sum64()) //nolint:gosec // any 64 bits will do
}

// awaitLock asks for the lock again and again. A statement that waited for it
// inside PostgreSQL for hours would hold back vacuum.
func (h *Housekeeping) awaitLock(ctx context.Context, l *leader) error {
	retry := time.NewTicker(l.terms.retry)
	defer retry.Stop()
	for {
		if leads, err := l.tryLock(ctx, LeaderLock(h.db.Schema())); err != nil || leads {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-retry.C:
		}
	}
}

// inTransaction begins a transaction. PostgreSQL ends it and its session if the
// leader is silent for too long.
func (l *leader) inTransaction() string {
	return fmt.Sprintf("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SET LOCAL idle_in_transaction_session_timeout = %s; ", postgres.Milliseconds(l.terms.silence))
}

// tryLock asks for the lock, inside a transaction whose timeout then bounds the
// leader's silence.
func (l *leader) tryLock(ctx context.Context, lock int64) (bool, error) {
	l.last = time.Now()
	results, err := l.say(ctx, l.inTransaction()+fmt.Sprintf("SELECT pg_try_advisory_lock(%d)", lock))
	if err != nil {
		return false, err
	}
	if answer := results[len(results)-1].Rows; len(answer) == 1 && string(answer[0][0]) == "t" {
		return true, nil
	}
	_, err = l.say(ctx, "ROLLBACK")
	return false, err
}

// say sends statements in one message and waits a short time for the answer.
func (l *leader) say(ctx context.Context, sql string) ([]*pgconn.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, postgres.PingPatience)
	defer cancel()
	return l.conn.PgConn().Exec(ctx, sql).ReadAll()
}

// speak renews the leadership: it begins a new transaction. The lock belongs to
// the session and outlives the old transaction.
func (l *leader) speak(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	sent := time.Now()
	if _, err := l.say(ctx, "COMMIT; "+l.inTransaction()); err != nil {
		return err
	}
	l.last = sent
	return nil
}

// watch returns an error when the session has ended, or nil when ctx ends.
func (l *leader) watch(ctx context.Context) error {
	word := time.NewTicker(l.terms.word)
	defer word.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-word.C:
		}
		if err := l.speak(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// still is the domain.StillLeads. It asks PostgreSQL only if the last answer is
// older than it can be while this process runs normally.
func (l *leader) still(ctx context.Context) error {
	l.mu.Lock()
	last := l.last
	l.mu.Unlock()
	if since(last) < l.terms.silence/2 {
		return ctx.Err()
	}
	return postgres.Translate(l.speak(ctx), "ask whether this process still leads")
}

// since returns the time since t, including the time that the machine slept,
// which the monotonic clock does not count.
func since(t time.Time) time.Duration { return max(time.Since(t), time.Now().Round(0).Sub(t.Round(0))) }

func (l *leader) resign(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	postgres.HangUp(ctx, l.conn)
}
