package chaos

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5/pgxpool"

	"outboxd/domain"
)

// The ledger is independent of outboxd's tables. Committed events are in
// chaos.ledger, because each producer writes there in the transaction of its
// events. Effects are in chaos.effects, where nothing is unique, so an effect
// that happened twice is seen. The journals are files in which producers note what
// PostgreSQL answered to their commits: so a commit that PostgreSQL lost is not taken
// for an event that outboxd lost.
const ledgerSQL = `
CREATE SCHEMA chaos;
CREATE TABLE chaos.ledger (
    event_id uuid   NOT NULL,
    producer text   NOT NULL,
    key      text,           -- NULL: not one of a sequence
    seq      bigint NOT NULL,
    type     text   NOT NULL,
    turn     bigint          -- position in the order of the commits of an ordering key; NULL: key is none
);
CREATE TABLE chaos.turns (
    key  text   PRIMARY KEY,
    last bigint NOT NULL
) WITH (fillfactor = 50);
CREATE TABLE chaos.effects (
    event_id uuid        NOT NULL,
    producer text        NOT NULL,
    key      text,
    seq      bigint      NOT NULL,
    seen     bigint      NOT NULL,
    at       timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON chaos.effects (key);
CREATE TABLE chaos.changes ( -- what producers changed their mind about, and what they were answered
    event_id uuid NOT NULL,
    what     text NOT NULL,
    answer   text NOT NULL
);
CREATE TABLE chaos.odd (event_id uuid PRIMARY KEY); -- events that are not in the ledger, and may end in any way
GRANT ALL ON SCHEMA chaos TO ` + fleetUser + `;
GRANT ALL ON ALL TABLES IN SCHEMA chaos TO ` + fleetUser

func openLedger(ctx context.Context, admin *pgxpool.Pool) error {
	if _, err := admin.Exec(ctx, ledgerSQL); err != nil {
		return fmt.Errorf("make the ledger: %w", err)
	}
	for n := range orderingKeys {
		if _, err := admin.Exec(ctx, "INSERT INTO chaos.turns VALUES ($1, 0), ($2, 0)", orderingKey(n), orderingKey(n)+elsewhereKey); err != nil {
			return fmt.Errorf("make the ledger: %w", err)
		}
	}
	return nil
}

func journalPath(folder string, producer int) string {
	return filepath.Join(folder, fmt.Sprintf("producer-%d.journal", producer+1))
}

// The marks of a journal: what PostgreSQL said about a transaction.
const (
	markCommitted = 'C'
	markUndone    = 'R'
)

// journal writes down what a producer was told: one write for each transaction, a line
// for each event. A kill leaves the file, but may cut off its last line.
type journal struct{ file *os.File }

func openJournal(path string) (journal, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return journal{}, fmt.Errorf("open the journal: %w", err)
	}
	return journal{file}, nil
}

func (j journal) write(mark byte, events []entry) error {
	text := make([]byte, 0, 38*len(events))
	for _, e := range events {
		text = append(append(append(text, mark), e.ID.String()...), '\n')
	}
	if _, err := j.file.Write(text); err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	return nil
}

// readJournal calls the function told for every event in a journal. A line that a kill
// cut off does not count, nor does the line that was appended to it.
func readJournal(path string, told func(mark byte, id domain.ID)) error {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // killed before it wrote anything
	}
	if err != nil {
		return fmt.Errorf("open the journal: %w", err)
	}
	defer func() { _ = file.Close() }()
	for lines := bufio.NewReader(file); ; {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the journal: %w", err)
		}
		line = bytes.TrimSuffix(line, []byte("\n"))
		if len(line) != 37 {
			continue // half a line, with the first line of the next process appended
		}
		id, err := domain.ParseID(string(line[1:]))
		if err == nil {
			told(line[0], id)
		}
	}
}
