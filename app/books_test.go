package app_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
)

// books are the numbers that have to agree in the end.
type books struct {
	Users, Notifications, Sent, Inbox int // of rows
	Pending, Delivered, Charged, Dead int // events in the outbox, handed over, with an attempt charged, given up
}

func (b books) balanced() bool {
	n := b.Users
	return b == books{Users: n, Notifications: n, Sent: n, Inbox: n, Delivered: n, Charged: b.Charged, Dead: b.Dead}
}

const readBooks = `SELECT
	(SELECT count(*) FROM users), (SELECT count(*) FROM notifications),
	(SELECT count(*) FROM notifications WHERE status = 'SENT'), (SELECT count(*) FROM inbox),
	(SELECT count(*) FROM outbox), (SELECT count(DISTINCT id) FROM outbox_sent),
	(SELECT count(*) FROM outbox_sent WHERE attempts <> 0), (SELECT count(*) FROM outbox_dead)`

// ledger reads books.
type ledger struct {
	t    *testing.T
	conn *pgx.Conn
}

func openLedger(t *testing.T, databaseURL string) ledger {
	t.Helper()
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["search_path"] = "outboxd, outboxd_example"
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return ledger{t, conn}
}

func (l ledger) read() books {
	l.t.Helper()
	rows, err := l.conn.Query(l.t.Context(), readBooks)
	if err != nil {
		l.t.Fatal(err)
	}
	b, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[books])
	if err != nil {
		l.t.Fatal(err)
	}
	return b
}

// await waits until the books balance, and checks that every user whose registration was answered with 201 is in
// them.
func (l ledger) await(registered []string) books {
	l.t.Helper()
	var b books
	begun := time.Now()
	defer func() {
		if l.t.Failed() {
			l.t.Logf("the books say %+v", b)
		}
	}()
	within(l.t, 2*patience, "the books balance", func() bool { b = l.read(); return b.balanced() })
	l.t.Logf("after %v the books balance: %+v", time.Since(begun).Round(time.Millisecond), b)
	if b.Dead != 0 {
		l.t.Errorf("%d dead letters", b.Dead)
	}
	if missing := len(registered) - l.known(registered); missing != 0 {
		l.t.Errorf("%d of %d who were told that they are registered are not", missing, len(registered))
	}
	return b
}

// known returns how many of the users exist, with a notification.
func (l ledger) known(ids []string) (n int) {
	l.t.Helper()
	l.scan(&n, `SELECT count(DISTINCT users.id) FROM users JOIN notifications ON user_id = users.id WHERE users.id = ANY($1::text[]::uuid[])`, ids)
	return n
}

func (l ledger) scan(to any, sql string, args ...any) {
	l.t.Helper()
	if err := l.conn.QueryRow(l.t.Context(), sql, args...).Scan(to); err != nil {
		l.t.Fatal(err)
	}
}

// produce writes n registrations at once, like a producer that uses SQL. The API cannot make as much work, because
// hashing passwords costs more than all the rest.
func (l ledger) produce(n int) {
	l.t.Helper()
	var produced int
	l.scan(&produced, `
		WITH registered AS (
			INSERT INTO users (email, password_hash)
			SELECT 'sql-' || outbox_new_id() || '@example.com', '$argon2id$' FROM generate_series(1, $1) RETURNING id
		), notified AS (
			INSERT INTO notifications (user_id, type, message) SELECT id, 'USER_REGISTRATION', 'Welcome!' FROM registered RETURNING id, user_id
		)
		SELECT count(outboxd.emit('email:send_notification', jsonb_build_object(
			'user_id', user_id, 'notification_id', id, 'notification_type', 'USER_REGISTRATION'), queue => 'notifications')) FROM notified`, n)
	if produced != n {
		l.t.Fatalf("produced %d events, want %d", produced, n)
	}
}

// awaitSent waits until so many more notifications are sent.
func (l ledger) awaitSent(more int) {
	l.t.Helper()
	want := l.read().Sent + more
	eventually(l.t, "more notifications are sent", func() bool { return l.read().Sent >= want })
}

var (
	mailName   = regexp.MustCompile(`^[0-9a-f-]{36}\.eml$`)
	repeatName = regexp.MustCompile(`^[0-9a-f-]{36}\.[0-9]+\.eml$`)
)

// countMails counts the mails in a data directory: the first mail of each event, and the repeats.
func countMails(t *testing.T, dataDir string) (mails, repeats int) {
	t.Helper()
	files, err := os.ReadDir(filepath.Join(dataDir, "mail"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		switch name := file.Name(); {
		case mailName.MatchString(name):
			mails++
		case repeatName.MatchString(name):
			repeats++
		case !strings.HasPrefix(name, "."): // drafts of a process that was killed
			t.Errorf("unexpected file %s", name)
		}
	}
	return mails, repeats
}

func openRedis(t *testing.T, redisURL string) redis.UniversalClient {
	t.Helper()
	option, err := asynq.ParseRedisURI(redisURL)
	if err != nil {
		t.Fatal(err)
	}
	client, ok := option.MakeRedisClient().(redis.UniversalClient)
	if !ok {
		t.Fatalf("no client for %s", redisURL)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// expireLeases ends the leases of all running tasks of the queue notifications, so that Asynq takes them away
// from a worker that is gone.
func expireLeases(t *testing.T, redisURL string) {
	t.Helper()
	client := openRedis(t, redisURL)
	const leases = "asynq:{notifications}:lease"
	tasks, err := client.ZRange(t.Context(), leases, 0, -1).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		past := redis.Z{Member: task, Score: float64(time.Now().Add(-time.Minute).Unix())}
		if err := client.ZAddXX(t.Context(), leases, past).Err(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d tasks were in the hands of a worker that is gone", len(tasks))
}
