package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"outboxd/domain"
)

// oddType is the type of the odd rows, whose handler does nothing.
const oddType = "chaos:odd"

// oddRows are unusual values that a producer can write: expressions for one column or
// several. Each is refused at INSERT, or ends as any event does. In both cases all
// other events go on.
var oddRows = []struct{ columns, values string }{
	{"created_at", "'-infinity'"},
	{"created_at", "'infinity'"},
	{"created_at", "'4713-01-01 BC'"},
	{"created_at", "'294276-12-31'"},
	{"available_at", "'-infinity'"},
	{"available_at", "'infinity'"},
	{"available_at", "'0001-01-01 00:00Z'"},
	{"available_at", "'9999-12-31'"},
	{"available_at", "'294276-12-31'"},
	{"available_at, ordering_key", "'0001-01-01 00:00Z', 'odd'"},
	{"available_at, ordering_key", "'1900-01-01 00:00Z', 'odd'"},
	{"available_at, ordering_key", "'-infinity', 'odd'"},
	{"deadline", "'-infinity'"},
	{"deadline", "'infinity'"},
	{"deadline", "'0001-01-01 00:00Z'"},
	{"deadline", "'294276-12-31'"},
	{"event_type", "''"},
	{"event_type", "E'\\u00a0'"},
	{"event_type", "E' \\t\\u2007\\u3000'"},
	{"queue", "''"},
	{"queue", "E'\\u00a0'"},
	{"queue", "E'\\u200b'"},
	{"ordering_key", "''"},
	{"ordering_key", "E'\\u00a0'"},
	{"ordering_key", "repeat('k', 100000)"},
	{"id", "'00000000-0000-0000-0000-000000000000'"},
	{"id", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"},
	{"max_retry", "2147483647"},
	{"max_retry", "-1"},
	{"timeout_seconds", "2147483647"},
	{"timeout_seconds", "0"},
	{"retention_seconds", "2147483647"},
	{"retention_seconds", "-2147483648"},
	{"unique_seconds", "2147483647"},
	{"headers", "'[]'"},
	{"headers", `'{"a": 1}'`},
	{"headers", `'{"": null}'`},
	{"headers", `'{"\t": "\u0001"}'`},
	{"attempts", "2147483647"},
	{"attempts", "-1"},
	{"generation", "2147483647"},
	{"generation", "-1"},
	{"ordering_position", "9223372036854775807"},
	{"last_error", "E'\\u0001\\u202e'"},
}

// plainColumns are columns and values that every odd row gets, unless the column is the
// odd one.
var plainColumns = [][2]string{{"id", "outbox_new_id()"}, {"event_type", "'" + oddType + "'"}, {"payload", "convert_to(random()::text, 'UTF8')"}}

// oddRowSQL writes a row, and notes it in chaos.odd if it was not refused.
func oddRowSQL(columns, values string) string {
	odd := strings.Split(columns, ", ")
	for _, plain := range plainColumns {
		if !slices.Contains(odd, plain[0]) {
			columns, values = columns+", "+plain[0], values+", "+plain[1]
		}
	}
	return fmt.Sprintf("WITH written AS (INSERT INTO outbox (%s) VALUES (%s) RETURNING id) INSERT INTO chaos.odd SELECT id FROM written ON CONFLICT DO NOTHING", columns, values)
}

// repeats write an event again, as a producer does that is not sure whether it wrote it:
// while the event waits for its key, while it is on its way, and after it was confirmed.
// The repeat has the same key, another one, or none. If the event is already on its way, the
// repeat changes nothing.
var repeats = []struct{ what, sql string }{
	{"of a held event", repeatSQL("outbox_held", "ordering_key", "true")},
	{"on its way", repeatSQL("outbox_sent", "ordering_key", onItsWay)},
	{"on its way, with another key", repeatSQL("outbox_sent", "'odd'", onItsWay)},
	{"on its way, without its key", repeatSQL("outbox_sent", "NULL", onItsWay+" AND ordering_key IS NOT NULL")},
	{"of one with the turn", repeatSQL("outbox_sent", "ordering_key", "id IN (SELECT event_id FROM outbox_turns)")},
	{"of a confirmed event", repeatSQL("outbox_sent", "ordering_key", "id IN (SELECT event_id FROM inbox ORDER BY processed_at DESC LIMIT 1)")},
}

const onItsWay = "NOT EXISTS (SELECT FROM inbox WHERE event_id = id)"

func repeatSQL(table, key, where string) string {
	return fmt.Sprintf(`INSERT INTO outbox (id, event_type, payload, ordering_key)
SELECT id, event_type, payload, %s FROM %s WHERE event_type = '%s' AND %s LIMIT 1`, key, table, taskType, where)
}

// insertOdd writes an odd row, or an event again.
func (i *injector) insertOdd(ctx context.Context, target uint64) (string, func() string, error) {
	if i.down[i.servers.Postgres] {
		return "", nil, nil
	}
	n := target % uint64(len(oddRows)+2*len(repeats)) // each repeat comes twice as often as each odd row
	var what, sql string
	if n < uint64(len(oddRows)) {
		row := oddRows[n]
		what, sql = row.columns+" = "+row.values, oddRowSQL(row.columns, row.values)
	} else {
		repeat := repeats[(n-uint64(len(oddRows)))%uint64(len(repeats))]
		what, sql = "an event again: "+repeat.what, repeat.sql
	}
	tag, err := i.admin.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	switch hit, err := readOdd(err); {
	case err != nil:
		return "", nil, fmt.Errorf("write %s: %w", what, err)
	case hit == "taken" && tag.RowsAffected() == 0, hit == "":
		return "", nil, nil
	default:
		return hit + ": " + what, nil, nil
	}
}

// readOdd returns what PostgreSQL did with an odd row: "taken", "refused", or "" if a fault
// of another kind was quicker. An error of class 42, such as the name of a column that does
// not exist, is a fault of the statement: such a row would test nothing.
func readOdd(err error) (hit string, fault error) {
	refusal, refused := errors.AsType[*pgconn.PgError](err)
	switch {
	case err == nil:
		return "taken", nil
	case refused && strings.HasPrefix(refusal.Code, "42"):
		return "", err
	case refused && (strings.HasPrefix(refusal.Code, "22") || strings.HasPrefix(refusal.Code, "23")):
		return "refused", nil
	default:
		return "", nil
	}
}

// takeOdd removes the odd rows from the given traces and counts how they ended. It also returns
// the odd rows that are found nowhere.
func takeOdd(ctx context.Context, admin *pgxpool.Pool, all traces) (ended map[string]int, gone []domain.ID, err error) {
	ended = map[string]int{}
	err = eachID(ctx, admin, "SELECT event_id FROM chaos.odd", func(id domain.ID) {
		t := all.of(id)
		delete(all, id)
		switch {
		case t.processed > 0:
			ended["confirmed"]++
		case t.dead > 0:
			ended["dead"]++
		case t.waiting > 0:
			ended["waiting for their time"]++
		case t.queued > 0:
			ended["in Redis"]++
		default:
			gone = append(gone, id)
		}
	})
	return ended, gone, err
}
