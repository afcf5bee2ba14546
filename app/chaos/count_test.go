package chaos

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"outboxd/domain"
)

// source is a table in which events are looked for.
type source struct {
	table, column string
	note          func(*trace)
}

// sources are the tables in which an event can be. A table that does not exist is
// skipped.
var sources = []source{
	{"chaos.ledger", "event_id", func(t *trace) { t.committed++ }},
	{"outbox", "id", func(t *trace) { t.waiting++ }},
	{"outbox_held", "id", func(t *trace) { t.waiting++ }},
	{"outbox_dead", "id", func(t *trace) { t.dead++ }},
	{"inbox", "event_id", func(t *trace) { t.processed++ }},
	{"chaos.effects", "event_id", func(t *trace) { t.effects++ }},
	{"chaos.changes c WHERE " + cancelledSQL, "event_id", func(t *trace) { t.cancelled = true }},
}

// cancelledSQL is true for a change c that cancelled its event: at once, or later, by the
// leader.
const cancelledSQL = `what = 'cancel' AND (answer = 'cancelled' OR answer = 'requested' AND EXISTS (SELECT FROM outbox_cancelled o WHERE o.id = c.event_id))`

// books is where the harness looks when it counts.
type books struct {
	admin     *pgxpool.Pool
	elsewhere *pgxpool.Pool // nil: there is no other database
	queue     queue
	receivers []*receiver
}

// The statement returns the events whose effect has the payload of another event.
const garbledSQL = `
SELECT e.event_id FROM chaos.effects e JOIN chaos.ledger l USING (event_id)
WHERE (e.producer, e.key, e.seq) IS DISTINCT FROM (l.producer, l.key, l.seq)`

// count looks for every event everywhere. No process of the run may be running.
func count(ctx context.Context, b books, journals []string) (*Verdict, error) {
	admin := b.admin
	all := traces{}
	for _, s := range sources {
		if err := s.read(ctx, admin, all); err != nil {
			return nil, err
		}
	}
	if err := eachID(ctx, admin, garbledSQL, func(id domain.ID) { all.of(id).garbled = true }); err != nil {
		return nil, err
	}
	if b.elsewhere != nil {
		if err := eachID(ctx, b.elsewhere, "SELECT event_id FROM chaos.effects", func(id domain.ID) { all.of(id).effects++ }); err != nil {
			return nil, err
		}
	}
	if err := readQueue(ctx, b.queue, all); err != nil {
		return nil, err
	}
	deliveries, err := readDeliveries(ctx, b, all)
	if err != nil {
		return nil, err
	}
	for _, path := range journals {
		err := readJournal(path, func(mark byte, id domain.ID) {
			if mark == markUndone {
				all.of(id).undone = 1
			} else {
				all.of(id).told = 1
			}
		})
		if err != nil {
			return nil, err
		}
	}
	sequences, err := readSequences(ctx, b)
	if err != nil {
		return nil, err
	}
	odd, gone, err := takeOdd(ctx, admin, all)
	if err != nil {
		return nil, err
	}
	v := judge(all, sequences)
	v.Odd = odd
	v.add(deliveries)
	if v.Changes, err = readChanges(ctx, admin); err != nil {
		return nil, err
	}
	for _, id := range gone {
		v.violate(lost, id)
	}
	return v, nil
}

func (s source) read(ctx context.Context, admin *pgxpool.Pool, all traces) error {
	var exists bool
	table, _, _ := strings.Cut(s.table, " ")
	if err := admin.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", table).Scan(&exists); err != nil {
		return fmt.Errorf("look for the table %s: %w", s.table, err)
	}
	if !exists {
		return nil
	}
	return eachID(ctx, admin, "SELECT "+s.column+" FROM "+s.table, func(id domain.ID) { s.note(all.of(id)) })
}

func eachID(ctx context.Context, admin *pgxpool.Pool, sql string, found func(domain.ID)) error {
	rows, err := admin.Query(ctx, sql)
	if err != nil {
		return fmt.Errorf("count: %w", err)
	}
	var id [16]byte
	if _, err := pgx.ForEachRow(rows, []any{&id}, func() error { found(id); return nil }); err != nil {
		return fmt.Errorf("count: %w", err)
	}
	return nil
}

func readQueue(ctx context.Context, q queue, all traces) error {
	unknown := ""
	note := func(add func(*trace)) func(string) {
		return func(taskID string) {
			id, err := domain.EventID(taskID)
			if err != nil {
				unknown = taskID
				return
			}
			add(all.of(id))
		}
	}
	if err := q.tasks(ctx, note(func(t *trace) { t.queued++ })); err != nil {
		return err
	}
	if err := q.archived(ctx, note(func(t *trace) { t.dead++ })); err != nil {
		return err
	}
	if unknown != "" {
		return fmt.Errorf("the task %s in Redis belongs to no event", unknown)
	}
	return nil
}

// The number is the event's position in its key, from 0, in the order of the commits.
// An effect records its own position: seen is how many effects of its key it found.
const sequencesSQL = `
SELECT event_id, turn IS NOT NULL, row_number() OVER (PARTITION BY key ORDER BY coalesce(turn, seq)) - 1
FROM chaos.ledger l
WHERE key IS NOT NULL AND NOT EXISTS (SELECT FROM chaos.changes c WHERE c.event_id = l.event_id AND ` + cancelledSQL + `)`

const seenSQL = `SELECT event_id, seen FROM chaos.effects WHERE key IS NOT NULL`

func readSequences(ctx context.Context, b books) (sequences []position, err error) {
	seen := map[domain.ID]int64{}
	for _, db := range []*pgxpool.Pool{b.admin, b.elsewhere} {
		if db == nil {
			continue
		}
		rows, err := db.Query(ctx, seenSQL)
		if err != nil {
			return nil, fmt.Errorf("read the sequences: %w", err)
		}
		var id [16]byte
		var n int64
		if _, err := pgx.ForEachRow(rows, []any{&id, &n}, func() error { seen[id] = n; return nil }); err != nil {
			return nil, fmt.Errorf("read the sequences: %w", err)
		}
	}
	rows, err := b.admin.Query(ctx, sequencesSQL)
	if err != nil {
		return nil, fmt.Errorf("read the sequences: %w", err)
	}
	var p position
	var id [16]byte
	if _, err := pgx.ForEachRow(rows, []any{&id, &p.ordered, &p.committed}, func() error {
		n, found := seen[id]
		if p.id, p.seen = id, n; found {
			sequences = append(sequences, p)
		}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("read the sequences: %w", err)
	}
	return sequences, nil
}
