package repository_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/repository"
	"outboxd/repository/postgres"
)

// stuckSQL makes that many events stuck: no claim can read them, and they cannot become dead letters. The sequence
// tried counts how often the relay tries to make one a dead letter.
const stuckSQL = `
CREATE SEQUENCE tried;
CREATE FUNCTION refuse_odd() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM nextval('outboxd.tried');
    RAISE check_violation USING MESSAGE = 'no odd dead letters';
END $$;
CREATE TRIGGER refuse_odd BEFORE INSERT ON outbox_dead FOR EACH ROW WHEN (NEW.event_type = 'test:odd') EXECUTE FUNCTION refuse_odd();
INSERT INTO outbox (event_type, payload, created_at, available_at) SELECT 'test:odd', 'x', '-infinity', '2020-01-01' FROM generate_series(1, %d)`

const triedSQL = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM tried"

// logged has the lines of a log.
type logged struct {
	mu    sync.Mutex
	lines []string
}

func (l *logged) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(line))
	return len(line), nil
}

// about returns the lines that contain the text.
func (l *logged) about(text string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

func openLogged(t *testing.T) (*postgres.Database, *logged) {
	t.Helper()
	log := &logged{}
	db, err := postgres.Open(t.Context(), postgres.Options{
		URL: schematest.Database(t), MaxConns: 16, ConnectTimeout: 10 * time.Second, Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db, log
}

// However many events are stuck, a claim tries only a few of them, and later claims pass them over. Some are tried again
// later, and all when they are not stuck any more. The log has one line.
func TestStuckEventsCostAClaimLittle(t *testing.T) {
	t.Parallel()
	db, log := openLogged(t)
	exec(t, db, unchecked)
	const stuck, most = 200, 2 * 32 // each is tried twice: whole, and without its payload
	exec(t, db, fmt.Sprintf(stuckSQL, stuck))
	emit(t, db, 5)
	store := repository.NewOutbox(db, repository.OutboxOptions{History: true})
	tried, went := 0, 0
	pass := func() (full bool, more int) {
		t.Helper()
		batch := claim(t, store, 60)
		went += len(batch.Events())
		deliverAll(t, batch)
		before := tried
		tried = count(t, db, triedSQL)
		if tried-before > most {
			t.Errorf("a claim tried %d times to set an event aside", tried-before)
		}
		return batch.Full(), tried - before
	}
	for full := true; full; {
		full, _ = pass()
	}
	if went != 5 || tried != 2*stuck {
		t.Errorf("%d events went, want 5; %d tries, want %d", went, tried, 2*stuck)
	}
	if _, again := pass(); again > 0 {
		t.Errorf("stuck events were tried %d times again at once", again)
	}
	store.Later(time.Minute)
	if _, again := pass(); again != most {
		t.Errorf("stuck events were tried %d times after a minute, want %d", again, most)
	}
	if _, again := pass(); again > 0 {
		t.Errorf("stuck events were tried %d times again within a minute", again)
	}
	said := log.about("can neither be relayed")
	if len(said) != 2 || !strings.Contains(said[1], fmt.Sprintf(" events=%d ", stuck)) {
		t.Errorf("the log says %q, want a line at first and one a minute later", said)
	}

	exec(t, db, "DROP TRIGGER refuse_odd ON outbox_dead")
	store.Later(2 * time.Minute)
	for range stuck {
		pass()
	}
	if n := count(t, db, "SELECT count(*) FROM outbox_dead"); n != stuck {
		t.Errorf("%d events died when they could, want %d", n, stuck)
	}
}

// Several stuck rows may have no ID, if the outbox has lost its primary key.
func TestStuckRowsWithoutAnIDArePassedOver(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	exec(t, db, unchecked)
	exec(t, db, "ALTER TABLE outbox DROP CONSTRAINT outbox_pkey, ALTER id DROP NOT NULL")
	exec(t, db, fmt.Sprintf(stuckSQL, 3))
	exec(t, db, "UPDATE outbox SET id = NULL")
	emit(t, db, 2)
	store := repository.NewOutbox(db, repository.OutboxOptions{})
	for range 2 {
		deliverAll(t, claim(t, store, 10))
	}
	if n := count(t, db, "SELECT count(*) FROM outbox"); n != 3 {
		t.Errorf("%d rows are left, want the three that are stuck", n)
	}
}

// A stuck event is moved to a later time. The claims that find it there pass it over too: they do not find it again and
// again.
func TestAStuckEventIsPassedOverAtItsNewTime(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	exec(t, db, unchecked)
	exec(t, db, fmt.Sprintf(stuckSQL, 1))
	store := repository.NewOutbox(db, repository.OutboxOptions{})
	claim(t, store, 10)
	exec(t, db, "UPDATE outbox SET available_at = '2022-01-01'")
	for n := range 2 {
		batch, err := store.Claim(t.Context(), domain.Cursor{Due: time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC)}, 10)
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 && batch.Full() {
			t.Error("the second claim finds the event again")
		}
	}
}

// Redis refuses an event, and neither the outbox nor the dead letters take it: the other events of its batch are settled
// without it.
func TestAnEventThatNoTableTakesHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	for _, history := range []bool{true, false} {
		t.Run(fmt.Sprintf("history %t", history), func(t *testing.T) {
			t.Parallel()
			db, log := openLogged(t)
			emit(t, db, 3)
			exec(t, db, "ALTER TABLE outbox ADD CONSTRAINT stricter_by_now CHECK (event_type <> 'test:2') NOT VALID")
			exec(t, db, "ALTER TABLE outbox_dead ADD CONSTRAINT no_dead CHECK (event_type <> 'test:2')")
			store := repository.NewOutbox(db, repository.OutboxOptions{History: history})
			settle := func() error {
				t.Helper()
				batch := claim(t, store, 10)
				outcomes := make([]domain.Outcome, len(batch.Events()))
				for i, e := range batch.Events() {
					if outcomes[i].Verdict = domain.Delivered; e.Type != "test:1" {
						outcomes[i] = domain.Outcome{Verdict: domain.Refused, Err: errors.New("no"), Delay: time.Hour}
					}
				}
				err := batch.Commit(t.Context(), outcomes)
				if released := batch.Release(); released != nil {
					t.Error(released)
				}
				return err
			}
			if err := settle(); !errors.Is(err, domain.ErrPassedOver) {
				t.Errorf("the first commit: %v", err)
			}
			if err := settle(); err != nil {
				t.Errorf("the second commit: %v", err)
			}
			if n := count(t, db, "SELECT count(*) FROM outbox WHERE event_type = 'test:2' AND attempts = 0 OR event_type = 'test:3' AND attempts = 1"); n != 2 {
				t.Errorf("%d events are in the outbox as they should be, want 2", n)
			}
			if said := log.about("can neither be relayed"); len(said) != 1 || !strings.Contains(said[0], "no_dead") {
				t.Errorf("the log says %q", said)
			}
			addsUp(t, db)

			// A minute later it goes, with no more than its constraint in the way before.
			exec(t, db, "ALTER TABLE outbox DROP CONSTRAINT stricter_by_now")
			store.Later(time.Minute)
			if err := settle(); err != nil {
				t.Errorf("the third commit: %v", err)
			}
			if n := count(t, db, "SELECT count(*) FROM outbox WHERE event_type = 'test:2' AND attempts = 1"); n != 1 {
				t.Error("the event was not tried again")
			}
		})
	}
}

// A lock on the dead letters is no fault of a row.
func TestALockOnTheDeadLettersMakesNoEventStuck(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	exec(t, db, unchecked)
	exec(t, db, "INSERT INTO outbox (event_type, payload, created_at) VALUES ('test:odd', 'x', '-infinity')")
	store := repository.NewOutbox(db, repository.OutboxOptions{})
	tx := repository.Begin(t.Context(), db)
	defer tx.Rollback()
	if err := tx.Exec("LOCK outbox_dead IN SHARE MODE").Error; err != nil {
		t.Fatal(err)
	}
	if _, err := store.Claim(context.Background(), domain.Cursor{}, 10); domain.ErrorCode(err) != domain.CodeUnavailable {
		t.Errorf("claimed: %v", err)
	}
	tx.Rollback()
	claim(t, store, 10)
	if n := count(t, db, "SELECT count(*) FROM outbox_dead"); n != 1 {
		t.Errorf("%d dead letters, want 1", n)
	}
}
