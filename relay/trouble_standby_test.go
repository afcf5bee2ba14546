package relay_test

import (
	"testing"

	"outboxd/app/schematest"
	"outboxd/app/servertest/postgrestest"
	"outboxd/relay"
)

// A relay at a standby reads and cannot write. It waits for the standby to
// become the primary.
func TestTheServerIsAStandby(t *testing.T) {
	t.Parallel()
	primary := postgrestest.Start(t)
	migrated(t, primary.URL())
	standby := primary.Standby()
	producer := newSession(t, primary.URL())
	producer.exec(emit150)
	x := newTrouble(t, standby.URL(), nil)
	x.eventually(150, "SELECT count(*) FROM outbox")
	x.start()
	x.reported()
	x.patient()
	primary.Stop()
	standby.Promote()
	x.recovered(schematest.Connect(t, standby.URL()), 150, 1)
	x.eventually(1, "SELECT count(*) FROM outbox_relays WHERE asleep")
	x.exec("SELECT outboxd.emit('test:woken', '{}')") // it polls once an hour
	x.eventually(1, "SELECT count(*) FROM outbox_sent WHERE event_type = 'test:woken'")
}

// The primary dies in the middle of a batch that has reached Redis and was not
// settled. The standby is promoted, and the relay finds it by its URL.
func TestThePrimaryDiesAndItsStandbyTakesOver(t *testing.T) {
	t.Parallel()
	primary := postgrestest.Start(t)
	migrated(t, primary.URL())
	standby := primary.Standby()
	var publisher *holdingPublisher
	x := newTrouble(t, postgrestest.FirstWritable(t, primary.URL(), standby.URL()), func(o *relay.Options) {
		publisher = holding(t, o.Publisher)
		o.Publisher = publisher
	})
	x.exec(emitMany, 500)
	x.start()
	<-publisher.held
	primary.Stop()
	close(publisher.on)
	x.reported()
	x.patient()
	standby.Promote()
	after := schematest.Connect(t, standby.URL())
	x.recovered(after, 500, 1)
	x.eventually(1, "SELECT count(*) FROM outbox_relays WHERE asleep")
	x.exec("SELECT outboxd.emit('test:woken', '{}')")
	x.eventually(1, "SELECT count(*) FROM outbox_sent WHERE event_type = 'test:woken'")
}

// In a switchover the old primary lives on, but it becomes read-only, and so do the relay's
// connections to it.
func TestThePrimaryBecomesReadOnlyAndItsStandbyTakesOver(t *testing.T) {
	t.Parallel()
	primary := postgrestest.Start(t)
	migrated(t, primary.URL())
	standby := primary.Standby()
	x := newTrouble(t, postgrestest.FirstWritable(t, primary.URL(), standby.URL()), nil)
	x.start()
	x.exec(emitMany, 150)
	x.eventually(150, "SELECT count(*) FROM outbox_sent")
	x.eventually(1, "SELECT count(*) FROM outbox_relays WHERE asleep")
	old := newSession(t, primary.URL())
	old.exec("ALTER SYSTEM SET default_transaction_read_only = on")
	old.exec("SELECT pg_reload_conf()")
	x.relay.Wake()
	x.reported()
	x.patient()
	standby.Promote()
	after := newSession(t, standby.URL())
	after.exec(emit150)
	x.recovered(schematest.Connect(t, standby.URL()), 300, 1)
}
