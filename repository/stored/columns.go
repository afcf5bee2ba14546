package stored

import (
	"fmt"
	"strings"
)

// column describes a column that every table with events has.
type column struct {
	name, sqlType string
	target        func(*Scan) any // what Scan reads it into
	array         func(*Rows) any // the array of it in Rows
}

// columns are the columns of an event. All statements, Scan and Rows use the columns in this
// order. The columns are defined in migrations/00001_outbox.sql.
var columns = []column{
	{"id", "uuid", func(s *Scan) any { return &s.id }, func(r *Rows) any { return r.IDs }},
	{"event_type", "text", func(s *Scan) any { return &s.kind }, func(r *Rows) any { return r.types }},
	{"payload", "bytea", func(s *Scan) any { return &s.payload }, func(r *Rows) any { return r.payloads }},
	{"headers", "jsonb", func(s *Scan) any { return &s.headers }, func(r *Rows) any { return r.headers }},
	{"queue", "text", func(s *Scan) any { return &s.queue }, func(r *Rows) any { return r.queues }},
	{"max_retry", "integer", func(s *Scan) any { return &s.maxRetry }, func(r *Rows) any { return r.maxRetry }},
	{"timeout_seconds", "integer", func(s *Scan) any { return &s.timeout }, func(r *Rows) any { return r.timeout }},
	{"deadline", "timestamptz", func(s *Scan) any { return &s.deadline }, func(r *Rows) any { return r.deadlines }},
	{"retention_seconds", "integer", func(s *Scan) any { return &s.retention }, func(r *Rows) any { return r.retention }},
	{"unique_seconds", "integer", func(s *Scan) any { return &s.unique }, func(r *Rows) any { return r.unique }},
	{"available_at", "timestamptz", func(s *Scan) any { return &s.available }, func(r *Rows) any { return r.available }},
	{"attempts", "integer", func(s *Scan) any { return &s.attempts }, func(r *Rows) any { return r.attempts }},
	{"generation", "integer", func(s *Scan) any { return &s.generation }, func(r *Rows) any { return r.generations }},
	{"last_error", "text", func(s *Scan) any { return &s.lastError }, func(r *Rows) any { return r.lastErrors }},
	{"created_at", "timestamptz", func(s *Scan) any { return &s.created }, func(r *Rows) any { return r.created }},
	{"ordering_key", "text", func(s *Scan) any { return &s.key }, func(r *Rows) any { return r.keys }},
	{"ordering_position", "bigint", func(s *Scan) any { return &s.position }, func(r *Rows) any { return r.positions }},
	{"origin_id", "uuid", func(s *Scan) any { return &s.origin }, func(r *Rows) any { return r.origins }},
	{"subscription", "text", func(s *Scan) any { return &s.subscription }, func(r *Rows) any { return r.subscriptions }},
	{"split", "text", func(s *Scan) any { return &s.split }, func(r *Rows) any { return r.splits }},
}

// Met is an SQL expression for the column split of an event that a claim has read ("met").
// The event's deliveries were made, and no later claim makes them again.
const Met = "coalesce(split, 'done')"

var (
	// Columns has the names of an event's columns, separated by commas.
	Columns = ColumnsWith(nil)
	// NoEvent is a NULL for each column.
	NoEvent = each(func(int, column) string { return "NULL" })
	// Unnest makes rows from the arrays of Rows: one array for each column, from $1 on.
	// After Unnest, a statement must have one more array, with the parameter Beside, and the
	// closing bracket.
	Unnest = "unnest(" + each(func(i int, c column) string { return fmt.Sprintf("$%d::%s[]", i+1, c.sqlType) }) + ", "
	// Beside is the number of the parameter that follows those of Unnest.
	Beside = fmt.Sprintf("$%d", len(columns)+1)
	// Beyond is the number of the parameter after Beside.
	Beyond = fmt.Sprintf("$%d", len(columns)+2)
)

// ColumnsWith returns Columns, with an expression in the place of each column whose name
// is in values.
func ColumnsWith(values map[string]string) string {
	return each(func(_ int, c column) string {
		if value, ok := values[c.name]; ok {
			return value
		}
		return c.name
	})
}

func each(text func(int, column) string) string {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = text(i, c)
	}
	return strings.Join(list, ", ")
}
