package repository

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"outboxd/domain"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// Some rows make a claim fail. The CHECKs of the outbox refuse such rows at INSERT, but
// for example a restore, a trigger, a disabled constraint or a newer version of outboxd
// may bring them in. If a claim fails because of a row, the relay claims again without
// that row. The row becomes a dead letter inside PostgreSQL, if it can, so the server
// need not send it to outboxd. Setting rows aside costs nothing as long as no claim
// fails.
//
// A claim also fails if it waits too long for an open transaction that deletes another row
// of the same event, or a delivery of the event. For example, a producer writes an event
// again while another producer is cancelling the event. Claims pass over such a row.

// maxAside is the largest number of faulty rows that one claim looks for. The next claim looks
// for more.
const maxAside = 32

// passing returns a claim statement that passes over the events $5. The subquery is in a CASE,
// where PostgreSQL makes one hash table of the events, and looks each row up in it.
func passing(claim string) string {
	before, after, _ := strings.Cut(claim, dueOrder)
	return before + fmt.Sprintf(passedSQL, 5) + dueOrder + after
}

const (
	dueOrder  = "\n    ORDER BY available_at, id\n"
	passedSQL = `
      AND CASE WHEN coalesce(id, '00000000-0000-0000-0000-000000000000') IN (SELECT unnest($%d::uuid[])) THEN false ELSE true END`
)

// aroundSQL locks the rows that the claim statement would lock, except the events $4.
var aroundSQL = `
SELECT ctid::text, available_at, coalesce(id, '00000000-0000-0000-0000-000000000000') FROM outbox
WHERE available_at <= now() AND (available_at, id) >= ($1, $2::uuid)
  AND CASE WHEN queue = ANY ($3::text[]) THEN false ELSE true END` + fmt.Sprintf(passedSQL, 4) + dueOrder + `LIMIT %d
FOR UPDATE SKIP LOCKED`

// theseSQL returns a claim statement that takes the rows with the given tuple
// identifiers. These rows are already locked.
func theseSQL(claim string) string {
	const due = `
WITH due AS MATERIALIZED (
    SELECT ctid, octet_length(payload) AS bytes FROM outbox WHERE ctid = ANY ($1::text[]::tid[]) ORDER BY available_at, id
)`
	_, rest, _ := strings.Cut(claim, ", fitting AS (")
	return due + ", fitting AS (" + strings.Replace(rest, "$3", "$2", 1)
}

// claimAround claims again after a claim failed because of a row. The faulty rows become
// dead letters. claimAround returns the given cause if it cannot claim even a valid event
// that it has made up: then the fault is not in a row.
func (o *Outbox) claimAround(ctx context.Context, s scope, cause error) (*batch, error) {
	b, err := o.newBatch(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.loadAround(ctx, s, cause); err != nil {
		_ = b.Release()
		return nil, err
	}
	return o.begun(b)
}

func (b *batch) loadAround(ctx context.Context, s scope, cause error) error {
	if err := b.begin(ctx); err != nil {
		return err
	}
	if err := b.claimMadeUp(ctx); stored.IsOfRow(err) {
		return cause // a faultless event cannot be claimed either
	} else if err != nil {
		return err
	}
	rows, err := b.around(ctx, s)
	if err != nil {
		return err
	}
	if err := b.waitForLocks(ctx, siftPatience); err != nil {
		return err
	}
	sifted := sifting{batch: b}
	if err := sifted.sift(ctx, rows); err != nil {
		return err
	}
	if err := b.waitForLocks(ctx, lockPatience); err != nil {
		return err
	}
	left, err := b.setAside(ctx, sifted.stuck)
	if err != nil {
		return err
	}
	b.outbox.passed.passOver(ctx, left, b.outbox.db.Logger())
	b.aside = len(sifted.stuck) - len(left)
	b.events, b.held = nil, held{} // what was tried, such as the made-up event, was rolled back
	if len(sifted.fit) > 0 {
		if err := b.take(ctx, sifted.fit); err != nil {
			return err
		}
	}
	// The next claim passes over the rows that are left.
	b.full = len(sifted.stuck) > 0 || sifted.cut || len(sifted.fit) > 0 && (len(rows) == s.limit || len(b.events)+b.Held() < len(sifted.fit))
	return nil
}

// siftPatience is how long a statement of sift waits for a lock. It is short because there are
// many such statements.
const siftPatience = 20 * time.Millisecond

func (b *batch) waitForLocks(ctx context.Context, patience time.Duration) error {
	if _, err := b.conn.Exec(ctx, "SELECT set_config('lock_timeout', $1, true)", postgres.Milliseconds(patience)); err != nil {
		return fmt.Errorf("set the lock timeout: %w", err)
	}
	return nil
}

// isOfOne reports whether one row may have caused the error of a claim: its contents, or a
// transaction that works on the same event.
func isOfOne(err error) bool {
	return stored.IsOfRow(err) || postgres.SQLState(err) == postgres.LockTimeout
}

// dueRow is a row of the outbox: its ctid and its place among the due events.
type dueRow struct {
	place string
	at    domain.Cursor
}

// around locks the due rows, and returns them.
func (b *batch) around(ctx context.Context, s scope) ([]dueRow, error) {
	rows, err := b.conn.Query(ctx, fmt.Sprintf(aroundSQL, s.limit), dueFrom(s.from), [16]byte(s.from.ID), s.except, append([][16]byte{}, s.passed...))
	if err != nil {
		return nil, fmt.Errorf("look at due events one by one: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r dueRow, err error) {
		var due pgtype.Timestamptz // may be infinite
		err = row.Scan(&r.place, &due, (*[16]byte)(&r.at.ID))
		r.at.Due = due.Time
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("look at due events one by one: %w", err)
	}
	return list, nil
}

// sifting separates the rows that can be claimed from those that cannot. sifting tries to
// claim all rows together. If that fails, it tries each half of them, and so on.
type sifting struct {
	*batch
	fit   []string
	stuck []stuckRow
	cut   bool // some rows were not looked at
}

func (s *sifting) sift(ctx context.Context, rows []dueRow) error {
	if len(rows) == 0 {
		return nil
	}
	if len(s.stuck) >= maxAside {
		s.cut = true
		return nil // the next claim looks at the rest
	}
	places := make([]string, len(rows))
	for i := range rows {
		places[i] = rows[i].place
	}
	err := s.try(ctx, func() error { return s.take(ctx, places) }, false)
	switch {
	case err == nil:
		s.fit = append(s.fit, places...)
		return nil
	case !isOfOne(err):
		return err
	case len(rows) == 1:
		if !stored.IsOfRow(err) {
			// The row waited for a lock. If even a made-up event has to wait, a whole table is
			// locked, and the row is not the reason.
			if err := s.claimMadeUp(ctx); err != nil {
				return err
			}
		}
		s.stuck = append(s.stuck, stuckRow{dueRow: rows[0], why: err})
		return nil
	}
	if err := s.sift(ctx, rows[:len(rows)/2]); err != nil {
		return err
	}
	return s.sift(ctx, rows[len(rows)/2:])
}

// try calls the function do under a savepoint. The changes that the function makes stay
// only if it succeeded and the parameter keep is true.
func (b *batch) try(ctx context.Context, do func() error, keep bool) error {
	if _, err := b.conn.Exec(ctx, "SAVEPOINT row"); err != nil {
		return fmt.Errorf("set a savepoint: %w", err)
	}
	err := do()
	end := "ROLLBACK TO row; RELEASE row"
	if err == nil && keep {
		end = "RELEASE row"
	}
	for statement := range strings.SplitSeq(end, "; ") {
		if _, failed := b.conn.Exec(ctx, statement); failed != nil {
			return errors.Join(failed, err)
		}
	}
	return err
}

// take claims the rows at these places, until their payloads reach BatchBytes.
func (b *batch) take(ctx context.Context, places []string) error {
	b.events, b.held = nil, held{}
	rows, err := b.conn.Query(ctx, theseSQL(b.claimSQL()), places, b.outbox.o.BatchBytes)
	if err != nil {
		return fmt.Errorf("take due events: %w", err)
	}
	return b.read(rows, len(places))
}

const madeUpSQL = `
INSERT INTO outbox (event_type, payload, available_at) VALUES ('outboxd:probe', '', now()) RETURNING ctid::text`

// claimMadeUp inserts a valid event, claims it, and rolls both back.
func (b *batch) claimMadeUp(ctx context.Context) error {
	return b.try(ctx, func() error {
		var place string
		if err := b.conn.QueryRow(ctx, madeUpSQL).Scan(&place); err != nil {
			return fmt.Errorf("write an event: %w", err)
		}
		return b.take(ctx, []string{place})
	}, false)
}

// setAside turns faulty rows into dead letters. It returns the faulty rows that cannot become
// dead letters, and the rows that are not faulty. The returned rows stay in the outbox. If
// setAside returns an error, no row is the reason, and the caller must roll back.
func (b *batch) setAside(ctx context.Context, stuck []stuckRow) (left []stuckRow, err error) {
	for _, row := range stuck {
		if !stored.IsOfRow(row.why) {
			left = append(left, row)
			continue
		}
		var id *[16]byte
		var key *string
		err := b.try(ctx, func() error {
			if err := b.conn.QueryRow(ctx, "SELECT ordering_key FROM outbox WHERE ctid = $1::text::tid", row.place).Scan(&key); err != nil {
				return err
			}
			err := b.conn.QueryRow(ctx, "SELECT outbox_set_aside('outbox', $1::text::tid, $2)", row.place, b.asideText(row.why)).Scan(&id)
			if err != nil || id == nil || b.outbox.o.DeadHoldsKey {
				return err
			}
			_, err = b.conn.Exec(ctx, stored.PassEndedTurnsSQL, [][16]byte{*id})
			return err
		}, true)
		if postgres.IsUnavailable(err) || postgres.IsFleeting(err) {
			return nil, fmt.Errorf("set a row aside: %w", err)
		}
		if err != nil || id == nil {
			row.unset = err
			left = append(left, row)
			continue
		}
		b.outbox.db.Logger().ErrorContext(ctx, "an event is dead: it cannot be relayed as it is in the outbox", "event_id", domain.ID(*id), "place", row.place, "error", row.why)
		if key != nil {
			b.freed = append(b.freed, *key)
		}
	}
	return left, nil
}

func (b *batch) asideText(err error) string {
	return b.outbox.db.Storable("the event cannot be relayed as it is in the outbox: " + err.Error())
}
