package repository

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/repository/postgres"
)

// wakeChannel is the LISTEN channel on which new events and changes of subscriptions
// are announced. All schemas of a database share this channel; the payload of a
// notification names the schema.
const wakeChannel = "outbox_wake"

// Presence implements domain.Presence.
type Presence struct {
	db        *postgres.Database
	listenURL string
	// check is how long a connection may be silent before outboxd tests whether notifications still reach it. patience
	// is how long such a test may take.
	check, patience time.Duration
}

// NewPresence returns the Presence of db. listenURL is where to LISTEN; "" means the URL
// of db. listenURL must not lead through a PgBouncer in transaction mode.
func NewPresence(db *postgres.Database, listenURL string) *Presence {
	return &Presence{db: db, listenURL: listenURL, check: listenCheck, patience: echoPatience}
}

var _ domain.Presence = (*Presence)(nil)

const showSQL = `
INSERT INTO outbox_relays (id, host, pid, version, asleep) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (id) DO UPDATE SET asleep = excluded.asleep, seen_at = now()`

// Show implements domain.Presence.
func (p *Presence) Show(ctx context.Context, process domain.RelayProcess, asleep bool) error {
	_, err := p.db.SQL().ExecContext(ctx, showSQL, process.ID, process.Host, process.PID, process.Version, asleep)
	return postgres.Translate(err, "record a sign of life")
}

// Leave implements domain.Presence.
func (p *Presence) Leave(ctx context.Context, process domain.RelayProcess) error {
	_, err := p.db.SQL().ExecContext(ctx, "DELETE FROM outbox_relays WHERE id = $1", process.ID)
	return postgres.Translate(err, "delete the relay's record")
}

// If notifications no longer reach a connection, that is noticed within listenCheck plus
// echoPatience.
const (
	listenCheck  = 30 * time.Second
	echoPatience = 5 * time.Second
)

// Listen implements domain.Presence.
func (p *Presence) Listen(ctx context.Context, notified func(domain.Notice)) error {
	conn, schema, err := p.listen(ctx)
	if err != nil {
		return err
	}
	defer postgres.HangUp(ctx, conn)
	notified(domain.NoticeEvents)
	notified(domain.NoticeSubscriptions)
	for {
		if err := p.await(ctx, conn, schema, notified); err != nil {
			return err
		}
	}
}

// TryListening opens a connection for LISTEN, and closes it again. It returns nil if a
// notification has reached the connection.
func (p *Presence) TryListening(ctx context.Context) error {
	conn, _, err := p.listen(ctx)
	if err == nil {
		postgres.HangUp(ctx, conn)
	}
	return err
}

// listen opens a connection of its own for notifications. The pool's connections are for
// statements, and listening takes a connection all the time.
func (p *Presence) listen(ctx context.Context) (_ *pgx.Conn, schema string, err error) {
	conn, err := p.db.ConnectDirectly(ctx, p.listenURL)
	if err != nil {
		return nil, "", err
	}
	defer func() {
		if err != nil {
			postgres.HangUp(ctx, conn)
		}
	}()
	schema = p.db.Schema()
	if _, err = conn.Exec(ctx, "LISTEN "+wakeChannel); err != nil {
		return nil, "", postgres.Translate(err, "listen")
	}
	return conn, schema, p.echo(ctx, conn, schema, func(domain.Notice) {})
}

func (p *Presence) await(ctx context.Context, conn *pgx.Conn, schema string, notified func(domain.Notice)) error {
	wait, cancel := context.WithTimeout(ctx, p.check)
	defer cancel()
	notification, err := conn.WaitForNotification(wait)
	switch {
	case err == nil:
		pass(notification.Payload, schema, notified)
		return nil
	case ctx.Err() == nil && wait.Err() != nil && !conn.IsClosed():
		return p.echo(ctx, conn, schema, notified)
	default:
		return postgres.Translate(err, "wait for a notification")
	}
}

// echo tests whether notifications arrive: it sends one through the pool, as producers do, and
// waits for it. An answer to a ping proves little: PgBouncer in transaction mode accepts LISTEN and
// delivers nothing, and after a failover the connection may still lead to the old primary.
func (p *Presence) echo(ctx context.Context, conn *pgx.Conn, schema string, notified func(domain.Notice)) error {
	wait, cancel := context.WithTimeout(ctx, p.patience)
	defer cancel()
	sent := "echo " + rand.Text()
	if _, err := p.db.SQL().ExecContext(wait, "SELECT pg_notify($1, $2)", wakeChannel, sent); err != nil {
		return postgres.Translate(err, "notify itself")
	}
	for {
		notification, err := conn.WaitForNotification(wait)
		switch {
		case err != nil && ctx.Err() == nil && wait.Err() != nil:
			return fmt.Errorf("LISTEN does not work: a notification of the database does not arrive within %v, as behind PgBouncer in transaction mode, or where the URL to listen at leads to another database", p.patience)
		case err != nil:
			return postgres.Translate(err, "wait for its own notification")
		case notification.Payload == sent:
			return nil
		default:
			pass(notification.Payload, schema, notified)
		}
	}
}

// pass calls the function notified with the meaning of a notification. It ignores a notification for another schema
// and the test notification of another process.
func pass(payload, schema string, notified func(domain.Notice)) {
	switch payload {
	case schema:
		notified(domain.NoticeEvents)
	case schema + " subscriptions":
		notified(domain.NoticeSubscriptions)
	}
}
