package repositorytest

import (
	"database/sql"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// plan is a node of the output of EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON).
type plan struct {
	Type     string  `json:"Node Type"`
	Relation string  `json:"Relation Name"`
	Rows     float64 `json:"Actual Rows"` // in each loop
	Loops    float64 `json:"Actual Loops"`
	Filtered float64 `json:"Rows Removed by Filter"`
	// Rechecked is the number of rows that an index returned and that did not match in the
	// table.
	Rechecked float64 `json:"Rows Removed by Index Recheck"`
	Hit       int64   `json:"Shared Hit Blocks"`
	Read      int64   `json:"Shared Read Blocks"`
	Plans     []plan
}

// WantBounded runs statements on tables that have far more rows than the statements may read.
// WantBounded fails the test if a step of a plan reads more than maxRows rows (of the account's
// entries: maxEntries), or if a step and the steps below it read more than 40,000 blocks.
func WantBounded(t testing.TB, conn *sql.Conn, statements map[string][]any, maxRows, maxEntries int) {
	t.Helper()
	for name, statement := range statements {
		tx, err := conn.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var text string
		err = tx.QueryRowContext(t.Context(), "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "+statement[0].(string), statement[1:]...).Scan(&text)
		undone := tx.Rollback() // the measurement writes rows; an open transaction would hold up the connection's end
		if err := errors.Join(err, undone); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var found []struct{ Plan plan }
		if err := json.NewDecoder(strings.NewReader(text)).Decode(&found); err != nil || len(found) != 1 {
			t.Fatalf("%s: %v\n%s", name, err, text)
		}
		root := found[0].Plan
		rows, entries := root.most()
		read := root.blocks()
		t.Logf("%s: at most %.0f rows in a step, %d blocks", name, rows, read)
		const blocks = 40_000 // a row of the dead groups costs one or two blocks
		if rows > float64(maxRows) || entries > float64(maxEntries) || read > blocks {
			t.Errorf("%s: %.0f rows in a step, %d blocks:\n%s", name, rows, read, text)
		}
	}
}

// most returns how many rows the step that read the most has read: once for the steps
// that read the account's entries, and once for all other steps.
func (p plan) most() (rows, entries float64) {
	for _, below := range p.Plans {
		r, e := below.most()
		rows, entries = max(rows, r), max(entries, e)
	}
	met := (p.Rows + p.Filtered) * p.Loops
	if p.passesEntries() {
		return rows, max(entries, met)
	}
	return max(rows, met), entries
}

// blocks returns how many blocks the step that read the most has read, with the steps below it. The root alone would
// not do: its numbers lack the blocks of an INSERT, UPDATE or DELETE in a WITH.
func (p plan) blocks() int64 {
	most := p.Hit + p.Read
	for _, below := range p.Plans {
		most = max(most, below.blocks())
	}
	return most
}

func (p plan) passesEntries() bool {
	return p.Relation == "outbox_entries" || len(p.Plans) == 1 && p.Plans[0].passesEntries()
}
