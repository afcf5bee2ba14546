package relay_test

import (
	"strings"
	"testing"

	"outboxd/app/schematest"
)

// An administrator revokes a right that the relay's role needs. That is an outage: it
// names the missing right, costs no event an attempt, and is over as soon as the
// right is granted again.
func TestTheRoleMayNotWork(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ take, give, says string }{
		"row-level security": {
			"ALTER TABLE outboxd.outbox ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON outboxd.outbox FOR INSERT TO outboxd_producer WITH CHECK (true)",
			"ALTER ROLE outboxd_relay BYPASSRLS", "BYPASSRLS",
		},
		"no right to claim":    {"REVOKE DELETE ON outboxd.outbox FROM outboxd_relay", "GRANT DELETE ON outboxd.outbox TO outboxd_relay", "permission denied for table outbox"},
		"no right to remember": {"ALTER TABLE outboxd.outbox_sent OWNER TO outboxd_owner", "ALTER TABLE outboxd.outbox_sent OWNER TO outboxd_relay", "permission denied for table outbox_sent"},
		"no replica identity": {
			"ALTER TABLE outboxd.outbox REPLICA IDENTITY NOTHING; CREATE PUBLICATION cdc FOR ALL TABLES",
			"ALTER TABLE outboxd.outbox REPLICA IDENTITY DEFAULT", "replica identity",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			as := schematest.RoleDatabase(t)
			admin := newSession(t, as(""))
			x := newTrouble(t, as("outboxd_relay"), nil)
			x.start()
			x.eventually(1, "SELECT count(*) FROM outbox_relays WHERE asleep")
			admin.exec(c.take)
			admin.exec(strings.ReplaceAll(emit150, "outbox", "outboxd.outbox"))
			x.relay.Wake()
			x.reported()
			x.patient()
			if got := x.relay.DatabaseUsable(); !strings.Contains(got.Error(), c.says) {
				t.Errorf("it does not say %q: %v", c.says, got)
			}
			admin.exec(c.give)
			x.recovered(schematest.Connect(t, as("outboxd_owner")), 150, 1)
		})
	}
}
