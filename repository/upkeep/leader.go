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

// leaderTerms are how long a leader may be silent, and how often it and those
// who would follow it speak.
type leaderTerms struct {
	// silence is how long PostgreSQL waits for the next word of a leader before
	// it ends the session and with it the lock.
	silence time.Duration
	word    time.Duration // between two words of a leader; much shorter than silence
	retry   time.Duration // between two questions of a process that does not lead
}

// LeaderInterval is the time between two words of a leader.
const LeaderInterval = 10 * time.Second

// Another process leads at most silence and retry after the leader fell silent.
var defaultLeaderTerms = leaderTerms{silence: 30 * time.Second, word: LeaderInterval, retry: 5 * time.Second}

// leader is the session that holds the lock.
type leader struct {
	terms leaderTerms

	mu   sync.Mutex
	conn *pgx.Conn
	last time.Time // before the last word that was answered was sent
}

// Lead implements domain.Housekeeping. The leader is who holds an advisory lock
// of PostgreSQL's, so leadership ends with the session. The session is its own:
// the lock of a pooled one would pass to its next user.
//
// A process that is suspended, or cut off by the network, keeps its connection,
// for two hours by the kernel's defaults. So the session is always in a
// transaction, and idle_in_transaction_session_timeout, which every version has,
// ends it. The transaction has no snapshot and no ID, so it holds back nothing,
// and it is a new one with every word, so it never looks forgotten. Behind a
// PgBouncer in transaction mode it also keeps the server's session ours.
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
		// Closing the connection gives the lock back.
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

// LeaderLock is the key of the lock of the leader in a schema.
func LeaderLock(schema string) int64 {
	hash := fnv.New64a()
	hash.Write([]byte("outboxd housekeeping " + schema))
	return int64(hash.Sum64()) //nolint:gosec // any 64 bits will do
}

// awaitLock asks again and again rather than waiting inside PostgreSQL, where
// a statement that waits for hours would hold back vacuum.
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

// inTransaction begins a transaction that ends with its session if nothing is
// said for as long as the leader may be silent.
func (l *leader) inTransaction() string {
	return fmt.Sprintf("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SET LOCAL idle_in_transaction_session_timeout = %s; ", postgres.Milliseconds(l.terms.silence))
}

// tryLock asks for the lock inside the transaction that then keeps it alive.
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

// say sends statements in one message and waits for the answer, not for long.
func (l *leader) say(ctx context.Context, sql string) ([]*pgconn.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, postgres.PingPatience)
	defer cancel()
	return l.conn.PgConn().Exec(ctx, sql).ReadAll()
}

// speak makes the lock last until the leader is silent again. The lock is the
// session's and outlives the transaction.
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

// watch returns when the session is gone, or nil when ctx ends.
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

// still is the domain.StillLeads. PostgreSQL is asked only if the last answer is
// older than it can be while this process runs as it should.
func (l *leader) still(ctx context.Context) error {
	l.mu.Lock()
	last := l.last
	l.mu.Unlock()
	if since(last) < l.terms.silence/2 {
		return ctx.Err()
	}
	return postgres.Translate(l.speak(ctx), "ask whether this process still leads")
}

// since counts what the monotonic clock counts, and the sleep of a machine,
// which only the other clock does.
func since(t time.Time) time.Duration { return max(time.Since(t), time.Now().Round(0).Sub(t.Round(0))) }

func (l *leader) resign(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	postgres.HangUp(ctx, l.conn)
}
