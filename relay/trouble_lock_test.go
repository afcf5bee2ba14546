package relay_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/relay"
)

// session is a connection of another application.
type session struct {
	t    *testing.T
	conn *pgx.Conn
}

func newSession(t *testing.T, url string) *session {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	return &session{t, conn}
}

func (s *session) exec(statement string) {
	s.t.Helper()
	if _, err := s.conn.Exec(s.t.Context(), statement); err != nil {
		s.t.Fatalf("%s: %v", statement, err)
	}
}

// Another session locks the outbox, for longer than the server's lock_timeout
// or statement_timeout.
func TestTheOutboxIsLocked(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]string{
		"lock timeout": "&lock_timeout=300", "statement timeout": "&statement_timeout=300",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := migrated(t, schematest.Database(t))
			x := newTrouble(t, url+limit, nil)
			other := newSession(t, url)
			other.exec(emit150)
			other.exec("BEGIN")
			other.exec("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE")
			x.start()
			x.reported()
			x.patient()
			other.exec("COMMIT")
			x.recovered(schematest.Connect(t, url), 150, 1)
		})
	}
}

// The relay loses a deadlock. The other transaction is then through, so the
// claim is repeated at once, and there is no outage.
func TestADeadlockIsLost(t *testing.T) {
	t.Parallel()
	url := migrated(t, schematest.Database(t))
	// PostgreSQL looks for a deadlock once, when the claim has waited for so long, and the claim gives up after 5 s.
	x := newTrouble(t, url+"&deadlock_timeout=3s", nil)
	x.exec(emitMany, 150)
	other := newSession(t, url+"&deadlock_timeout=1min&statement_timeout=1min") // never the one that gives way
	other.exec("BEGIN")
	other.exec("LOCK TABLE outbox_sent IN ACCESS EXCLUSIVE MODE")
	x.start()
	// The server itself waits for the claim, so that the deadlock is there long before PostgreSQL looks for it. The
	// leader's look after ordering keys waits for the history too, but gives up sooner.
	other.exec(`DO $$
		BEGIN
			WHILE NOT EXISTS (SELECT FROM pg_locks AS has JOIN pg_locks AS wants USING (database, pid, virtualtransaction, mode) JOIN pg_stat_activity USING (pid)
				WHERE mode = 'RowExclusiveLock' AND has.granted AND has.relation = 'outbox'::regclass
				AND NOT wants.granted AND wants.relation = 'outbox_sent'::regclass AND query LIKE '%fitting AS (%')
			LOOP
				PERFORM pg_sleep(0.01), pg_stat_clear_snapshot();
			END LOOP;
			LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE;
		END $$`)
	other.exec("COMMIT")
	x.recovered(x.db, 150, 0)
	// The statistics come a little later.
	servertest.Eventually(x.t, "a deadlock has ended", func() bool {
		return x.count("SELECT count(*) FROM pg_stat_database WHERE datname = current_database() AND deadlocks > 0") == 1
	})
}

// The publisher hangs for longer than PostgreSQL lets a transaction be idle. The
// events are in Redis by then, and the repeat meets them there.
func TestATransactionIsIdleForTooLong(t *testing.T) {
	t.Parallel()
	url := migrated(t, schematest.Database(t))
	var publisher *holdingPublisher
	x := newTrouble(t, url, func(o *relay.Options) {
		publisher = holding(t, o.Publisher)
		o.Publisher, o.Concurrency = publisher, 1
	})
	// The relay sets the limit itself, to a minute. The trigger shortens the limit for as long as the
	// table hurried has a row.
	x.exec(`CREATE FUNCTION hurry() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			IF EXISTS (SELECT FROM hurried) THEN
				PERFORM set_config('idle_in_transaction_session_timeout', '100', true);
			END IF;
			RETURN NULL;
		END $$`)
	x.exec("CREATE TABLE hurried AS SELECT")
	x.exec("CREATE TRIGGER hurry AFTER DELETE ON outbox FOR EACH STATEMENT EXECUTE FUNCTION hurry()")
	x.exec(emitMany, 50)
	x.start()
	<-publisher.held
	x.exec("DELETE FROM hurried")
	// The leader's session is in a transaction as long as it leads, and holds an advisory lock.
	x.eventually(0, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'
		AND pid NOT IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')`)
	close(publisher.on)
	x.recovered(x.db, 50, 1)
}
