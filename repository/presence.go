package repository

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
)

// wakeChannel is what outbox_wake notifies. It is shared by all schemas of the
// database; the payload names the schema.
const wakeChannel = "outbox_wake"

// Presence is the domain.Presence.
type Presence struct {
	db        *Database
	listenURL string
}

// NewPresence returns the relays of db. listenURL ("" means db's own) is where
// to LISTEN: behind PgBouncer in transaction mode it has to lead past it.
func NewPresence(db *Database, listenURL string) *Presence {
	return &Presence{db: db, listenURL: listenURL}
}

var _ domain.Presence = (*Presence)(nil)

const showSQL = `
INSERT INTO outbox_relays (id, host, pid, version, asleep) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (id) DO UPDATE SET asleep = excluded.asleep, seen_at = now()`

// Show implements domain.Presence.
func (p *Presence) Show(ctx context.Context, process domain.RelayProcess, asleep bool) error {
	_, err := p.db.sql.ExecContext(ctx, showSQL, process.ID, process.Host, process.PID, process.Version, asleep)
	return translate(err, "record a sign of life")
}

// Leave implements domain.Presence.
func (p *Presence) Leave(ctx context.Context, process domain.RelayProcess) error {
	_, err := p.db.sql.ExecContext(ctx, "DELETE FROM outbox_relays WHERE id = $1", process.ID)
	return translate(err, "take the relay's record away")
}

// listenCheck is how often a silent connection is asked whether it still lives.
const listenCheck = 30 * time.Second

// Listen implements domain.Presence. It uses a connection of its own: a pooled
// one would be lost to everybody else for as long.
func (p *Presence) Listen(ctx context.Context, notified func()) error {
	conn, err := p.db.connectDirectly(ctx, p.listenURL)
	if err != nil {
		return err
	}
	defer hangUp(ctx, conn)
	schema, err := p.db.schema(ctx)
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "LISTEN "+wakeChannel); err != nil {
		return translate(err, "listen")
	}
	notified()
	for {
		if err := p.await(ctx, conn, schema, notified); err != nil {
			return translate(err, "wait for a notification")
		}
	}
}

func (p *Presence) await(ctx context.Context, conn *pgx.Conn, schema string, notified func()) error {
	wait, cancel := context.WithTimeout(ctx, listenCheck)
	defer cancel()
	notification, err := conn.WaitForNotification(wait)
	switch {
	case err == nil:
		if notification.Payload == schema {
			notified()
		}
		return nil
	case ctx.Err() == nil && wait.Err() != nil && !conn.IsClosed():
		if err := pingSoon(ctx, conn); err != nil {
			return fmt.Errorf("ask whether the connection lives: %w", err)
		}
		return nil
	default:
		return err
	}
}
