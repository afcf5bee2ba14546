package repository

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/repository/stored"
)

// Some rows make a claim fail. The CHECKs of the outbox refuse such rows at INSERT, but
// for example a restore, a trigger, a disabled constraint or a newer version of outboxd
// may bring them in. If a claim fails because of a row, the relay claims again without
// that row. The row becomes a dead letter inside PostgreSQL, if it can, so the server
// need not send it to outboxd. Setting rows aside costs nothing as long as no claim
// fails.

// maxAside is the largest number of rows that one claim makes dead letters. The next
// claim sets aside more.
const maxAside = 32

// aroundSQL locks the rows that the claim statement would lock, except those at the places $4.
const aroundSQL = `
SELECT ctid::text FROM outbox
WHERE available_at <= now() AND (available_at, id) >= ($1, $2::uuid)
  AND CASE WHEN queue = ANY ($3::text[]) THEN false ELSE true END
  AND ctid <> ALL ($4::text[]::tid[])
ORDER BY available_at, id
LIMIT %d
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
func (o *Outbox) claimAround(ctx context.Context, from domain.Cursor, limit int, except []string, cause error) (*batch, error) {
	b, err := o.newBatch(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.loadAround(ctx, from, limit, except, cause); err != nil {
		_ = b.Release()
		return nil, err
	}
	return o.begun(b)
}

func (b *batch) loadAround(ctx context.Context, from domain.Cursor, limit int, except []string, cause error) error {
	if err := b.begin(ctx); err != nil {
		return err
	}
	var left []stuckRow // rows that can neither be relayed nor become dead letters
	for {
		places, err := b.around(ctx, from, limit, except, left)
		if err != nil {
			return err
		}
		s := sifting{batch: b}
		if err := s.sift(ctx, places); err != nil {
			return err
		}
		if len(left) == 0 && len(s.stuck) > 0 {
			if err := b.claimMadeUp(ctx); err != nil {
				if stored.IsOfRow(err) {
					return cause // a faultless event cannot be claimed either
				}
				return err
			}
		}
		stay := b.setAside(ctx, s.stuck)
		b.aside = len(s.stuck) - len(stay)
		left = append(left, stay...)
		if b.aside == 0 && len(s.fit) == 0 && len(places) > 0 {
			continue // behind rows that all have to stay there may be others
		}
		b.reportLeft(ctx, left)
		b.events, b.held = nil, held{} // what was tried, such as the made-up event, was rolled back
		if len(s.fit) > 0 {
			if err := b.take(ctx, s.fit); err != nil {
				return err
			}
		}
		b.full = b.aside > 0 || s.cut || len(s.fit) > 0 && (len(places) == limit || len(b.events)+b.Held() < len(s.fit))
		return nil
	}
}

// around locks up to limit due rows that are not among those left, and returns their places.
func (b *batch) around(ctx context.Context, from domain.Cursor, limit int, except []string, left []stuckRow) ([]string, error) {
	passed := make([]string, len(left))
	for i, row := range left {
		passed[i] = row.place
	}
	rows, err := b.conn.Query(ctx, fmt.Sprintf(aroundSQL, limit), dueFrom(from), [16]byte(from.ID), append([]string{}, except...), passed)
	if err != nil {
		return nil, fmt.Errorf("look at due events one by one: %w", err)
	}
	places, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look at due events one by one: %w", err)
	}
	return places, nil
}

// sifting separates the rows that can be claimed from those that cannot. sifting tries to
// claim all rows together. If that fails, it tries each half of them, and so on.
type sifting struct {
	*batch
	fit   []string
	stuck []stuckRow
	cut   bool // some rows were not looked at
}

type stuckRow struct {
	place string // its ctid
	why   error  // why it cannot be claimed
	unset error  // why it cannot become a dead letter; nil if PostgreSQL does not say
}

func (s *sifting) sift(ctx context.Context, places []string) error {
	if len(places) == 0 {
		return nil
	}
	if len(s.stuck) >= maxAside {
		s.cut = true
		return nil // the next claim looks at the rest
	}
	err := s.try(ctx, func() error { return s.take(ctx, places) }, false)
	switch {
	case err == nil:
		s.fit = append(s.fit, places...)
		return nil
	case !stored.IsOfRow(err):
		return err
	case len(places) == 1:
		s.stuck = append(s.stuck, stuckRow{place: places[0], why: err})
		return nil
	}
	if err := s.sift(ctx, places[:len(places)/2]); err != nil {
		return err
	}
	return s.sift(ctx, places[len(places)/2:])
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

// setAside turns rows into dead letters, and returns those that it could not turn. They stay
// in the outbox, and later claims find them again.
func (b *batch) setAside(ctx context.Context, stuck []stuckRow) (left []stuckRow) {
	for _, row := range stuck {
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
	return left
}

// reportLeft logs that the claim skips rows. It names the first one.
func (b *batch) reportLeft(ctx context.Context, left []stuckRow) {
	if len(left) > 0 {
		first := left[0]
		b.outbox.db.Logger().ErrorContext(ctx, "events can neither be relayed nor become dead letters; the relay skips them",
			"events", len(left), "place", first.place, "error", first.why, "set_aside", first.unset)
	}
}

func (b *batch) asideText(err error) string {
	return b.outbox.db.Storable("the event cannot be relayed as it is in the outbox: " + err.Error())
}
