package repositorytest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"outboxd/app/servertest/postgrestest"
)

// Executed reads from a server's log which statements the server has executed, with their
// plans.
type Executed struct {
	t    testing.TB
	log  string
	read int64 // bytes of the log that were read
}

// LogPlans makes the sessions that begin afterwards log the plan of every statement, with
// the rows of each step. Statements inside functions are logged too.
func LogPlans(t testing.TB, server *postgrestest.Server) *Executed {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	const settings = `LOAD 'auto_explain';
		DO $$ DECLARE setting text; BEGIN
			FOREACH setting IN ARRAY ARRAY['session_preload_libraries = auto_explain', 'auto_explain.log_min_duration = 0', 'auto_explain.log_analyze = on',
				'auto_explain.log_timing = off', 'auto_explain.log_nested_statements = on', 'auto_explain.log_format = json'] LOOP
				EXECUTE format('ALTER DATABASE %I SET ', current_database()) || setting;
			END LOOP;
		END $$`
	if _, err := conn.PgConn().Exec(t.Context(), settings).ReadAll(); err != nil {
		t.Fatal(err)
	}
	return &Executed{t: t, log: server.Log()}
}

// Largest looks at the statements since its last call. For each statement, Largest adds up
// the rows of one table that steps of one type read. Largest returns the statement with
// the largest sum, with its plan, the table and the sum. What a statement wrote does not
// count. Largest fails the test if the server has executed no statement.
func (e *Executed) Largest() (statement, table string, rows float64) {
	e.t.Helper()
	file, err := os.Open(e.log)
	if err != nil {
		e.t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if _, err := file.Seek(e.read, io.SeekStart); err != nil {
		e.t.Fatal(err)
	}
	statements := 0
	log := bufio.NewReaderSize(file, 1<<20)
	for {
		line, err := log.ReadString('\n')
		e.read += int64(len(line))
		if err == io.EOF {
			break
		} else if err != nil {
			e.t.Fatal(err)
		}
		if !strings.Contains(line, " LOG:  duration: ") || !strings.HasSuffix(line, " plan:\n") {
			continue
		}
		var executed struct {
			Query string `json:"Query Text"`
			Plan  plan
		}
		if err := json.Unmarshal([]byte(e.continued(log)), &executed); err != nil {
			e.t.Fatalf("read a plan of PostgreSQL's log: %v", err)
		}
		statements++
		met := map[string]float64{}
		executed.Plan.meet(met)
		for of, n := range met {
			if n > rows {
				statement, table, rows = executed.Query+"\n"+executed.Plan.tree(""), of, n
			}
		}
	}
	if statements == 0 {
		e.t.Error("PostgreSQL has logged no statement")
	}
	return statement, table, rows
}

// The method continued reads the rest of a log entry: the lines that begin with a tab.
func (e *Executed) continued(log *bufio.Reader) string {
	var text strings.Builder
	for {
		if first, err := log.Peek(1); err != nil || first[0] != '\t' {
			return text.String()
		}
		line, err := log.ReadString('\n')
		if err != nil {
			e.t.Fatal(err)
		}
		e.read += int64(len(line))
		text.WriteString(line[1:])
	}
}

// meet adds up the rows that the steps of a plan read, by type of step and by table. Rows
// that a filter removed count too. All partitions of the history count as one table. A
// loop of a step that found no row counts as one row.
func (p plan) meet(met map[string]float64) {
	for _, below := range p.Plans {
		below.meet(met)
	}
	if table := p.Relation; table != "" && p.Type != "ModifyTable" {
		if strings.HasPrefix(table, "outbox_sent_") {
			table = "outbox_sent"
		}
		met[p.Type+" on "+table] += max(p.Rows+p.Filtered+p.Rechecked, 1) * p.Loops
	}
}

// tree returns the plan as text, one line for each step.
func (p plan) tree(indent string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s%s %s: %.0f rows, %.0f removed, %.0f loops\n", indent, p.Type, p.Relation, p.Rows, p.Filtered+p.Rechecked, p.Loops)
	for _, below := range p.Plans {
		text.WriteString(below.tree(indent + "  "))
	}
	return text.String()
}
