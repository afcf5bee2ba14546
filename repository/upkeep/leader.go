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

// leaderTerms has the times of the leadership: how long a leader may be silent, how often
// it sends a message, and how often other processes ask for the lock.
type leaderTerms struct {
	// silence is how long PostgreSQL waits for the leader's next message. After that,
	// PostgreSQL ends the session, and so releases the lock.
	silence time.Duration
	word    time.Duration // between two messages of the leader; much shorter than silence
	retry   time.Duration // between two requests of a process that does not lead
}

// LeaderInterval is the time between two messages from the leader to PostgreSQL.
const LeaderInterval = 10 * time.Second

// If a leader sends no message any more, another process that asks for the lock leads
// after at most silence plus retry.
var defaultLeaderTerms = leaderTerms{silence: 30 * time.Second, word: LeaderInterval, retry: 5 * time.Second}

// leader is the database session that holds the lock of the leader, or asks for it.
type leader struct {
	terms leaderTerms

	mu   sync.Mutex
	conn *pgx.Conn
	last time.Time // when the last message that was answered was sent
}

// Lead implements domain.Housekeeping. The leader holds an advisory lock of PostgreSQL,
// so its leadership ends when its session ends. The session does not come from the pool:
// otherwise the next user of the session would have the lock.
//
// If a process is suspended or separated by the network, the server keeps the process's
// connection: more than two hours by the kernel's defaults. So the leader's session is
// always in a transaction. If the leader is silent for too long,
// idle_in_transaction_session_timeout ends the transaction and the session. Every version
// of PostgreSQL that outboxd supports has that setting. The transaction has no snapshot
// and no transaction ID, so it does not hold back vacuum. Each message begins a new
// transaction, so that no monitoring takes an old one for forgotten. The transaction also
// makes a PgBouncer in transaction mode keep the same server session for the leader.
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
		// resign closes the connection, which releases the lock.
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

// LeaderLock returns the key of the advisory lock that the leader of a schema holds.
func LeaderLock(schema string) int64 {
	hash := fnv.New64a()
	hash.Write([]byte("outboxd housekeeping " + schema))
	return int64(hash.Sum64()) //nolint:gosec // any 64 bits will do
}

// awaitLock asks for the lock repeatedly until it gets it. A statement that waits for the
// lock inside PostgreSQL for hours would hold back vacuum.
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

// inTransaction returns statements that begin a transaction. PostgreSQL ends the
// transaction and its session if the leader is silent for too long.
func (l *leader) inTransaction() string {
	return fmt.Sprintf("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SET LOCAL idle_in_transaction_session_timeout = %s; ", postgres.Milliseconds(l.terms.silence))
}

// tryLock asks for the lock once, in a transaction whose timeout then limits the leader's
// silence.
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

// say sends statements to PostgreSQL in one message, and waits up to
// postgres.PingPatience for the answer.
func (l *leader) say(ctx context.Context, sql string) ([]*pgconn.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, postgres.PingPatience)
	defer cancel()
	return l.conn.PgConn().Exec(ctx, sql).ReadAll()
}

// speak sends a sign of life to PostgreSQL, which renews the leadership: it ends the
// transaction and begins a new one. The lock belongs to the session, so it stays when the
// old transaction ends.
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

// watch calls speak at regular intervals. watch returns the error of a call that fails, or
// nil when ctx ends.
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

// The method still implements domain.StillLeads: it reports whether this process still leads. It
// asks PostgreSQL only if the last answer is older than half of the allowed silence. While this
// process runs normally, the last answer is younger.
func (l *leader) still(ctx context.Context) error {
	l.mu.Lock()
	last := l.last
	l.mu.Unlock()
	if since(last) < l.terms.silence/2 {
		return ctx.Err()
	}
	return postgres.Translate(l.speak(ctx), "ask whether this process still leads")
}

// The function since returns the time that has passed since t. The result includes the time that
// the machine slept, which the monotonic clock does not count.
func since(t time.Time) time.Duration { return max(time.Since(t), time.Now().Round(0).Sub(t.Round(0))) }

func (l *leader) resign(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	postgres.HangUp(ctx, l.conn)
}
