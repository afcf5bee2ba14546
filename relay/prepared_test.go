package relay_test

import (
	"testing"
	"time"

	"outboxd/app/servertest"
	"outboxd/app/servertest/postgrestest"
	"outboxd/relay"
)

// A transaction is prepared for two-phase commit while every relay sleeps. PostgreSQL prepares no transaction that
// has notified, so the participant says outboxd.wake = off, and the relay finds the event by polling.
func TestATransactionIsPrepared(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	newSession(t, server.URL()).exec("ALTER SYSTEM SET max_prepared_transactions = 10")
	server.Stop()
	server.Start()
	f := newFixture(t, server.URL(), servertest.Redis(t), func(o *relay.Options) { o.PollInterval = 300 * time.Millisecond })
	f.exec("SELECT outboxd.emit('test:first', '{}', ordering_key => 'k'), outboxd.emit('test:second', '{}', ordering_key => 'k')")
	f.start()
	asleep := func() { t.Helper(); f.eventually(1, "SELECT count(*) FROM outbox_relays WHERE asleep") }
	producer := newSession(t, server.URL())
	prepare := func(name, statement string) {
		t.Helper()
		asleep()
		for _, step := range []string{"BEGIN", "SET LOCAL outboxd.wake = off", statement, "PREPARE TRANSACTION '" + name + "'"} {
			producer.exec(step)
		}
	}
	prepare("produces", "SELECT outboxd.emit('test:prepared', '{}')")
	producer.exec("COMMIT PREPARED 'produces'")
	f.eventually(1, "SELECT count(*) FROM outbox_sent WHERE event_type = 'test:prepared'")
	// A consumer's confirmation passes the key's turn on, which writes to the outbox, too.
	f.eventually(1, "SELECT count(*) FROM outbox_sent WHERE event_type = 'test:first'")
	prepare("consumes", "SELECT outboxd.confirm(id) FROM outbox_sent WHERE event_type = 'test:first'")
	producer.exec("COMMIT PREPARED 'consumes'")
	f.eventually(1, "SELECT count(*) FROM outbox_sent WHERE event_type = 'test:second'")

	// Without the setting, PREPARE TRANSACTION fails and leaves nothing behind.
	for refused := false; !refused; {
		asleep()
		producer.exec("BEGIN")
		producer.exec("SELECT outboxd.emit('test:refused', '{}')")
		if _, err := producer.conn.Exec(t.Context(), "PREPARE TRANSACTION 'refused'"); err != nil {
			refused = true
			continue
		}
		producer.exec("ROLLBACK PREPARED 'refused'") // the relay was just looking
	}
	f.eventually(0, "SELECT count(*) FROM pg_prepared_xacts")
	f.eventually(0, "SELECT count(*) FROM outbox")
}
