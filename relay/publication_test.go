package relay_test

import (
	"testing"
	"time"

	"outboxd/app/servertest/postgrestest"
	"outboxd/app/servertest/redistest"
	"outboxd/relay"
	"outboxd/repository/upkeep"
)

// Another application publishes every table for logical replication. PostgreSQL then
// refuses to delete or update rows of tables without a replica identity.
func TestEveryTableIsPublished(t *testing.T) {
	t.Parallel()
	const publish = "CREATE PUBLICATION cdc FOR ALL TABLES"
	for name, prepare := range map[string]func(server *postgrestest.Server){
		"before the schema is made, with wal_level logical": func(server *postgrestest.Server) {
			newSession(t, server.URL()).exec("ALTER SYSTEM SET wal_level = logical")
			server.Stop()
			server.Start()
			newSession(t, server.URL()).exec(publish)
		},
		"after the schema is made": func(server *postgrestest.Server) {
			migrated(t, server.URL())
			newSession(t, server.URL()).exec(publish)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := postgrestest.Start(t)
			prepare(server)
			redis := redistest.Start(t)
			w := newTown(t, server.URL(), redis.URL(), func(o *relay.Options) { o.MaxAttempts = 2 })
			if err := w.redis.Set(t.Context(), "asynq:{broken}:pending", "x", 0).Err(); err != nil {
				t.Fatal(err)
			}
			w.start()
			w.watched()
			w.exec("INSERT INTO outbox (event_type, payload, queue) VALUES ('test:refused', '', 'broken')")
			w.exec(emitEffects, 50)
			w.eventually(1, "SELECT count(*) FROM outbox_dead WHERE stage = 'relay'") // refused once, then dead
			w.eventually(50, "SELECT count(*) FROM outbox_sent")
			redis.Flush()
			w.healed("")
			w.work()
			w.allDone(50)
			// The leader makes its partitions at its start, and doesHousekeeping makes them too.
			w.eventually(1, "SELECT count(*) FROM pg_class WHERE relname = 'outbox_sent_' || to_char((now() AT TIME ZONE 'UTC')::date + 7, 'YYYYMMDD')")
			w.doesHousekeeping()
		})
	}
}

// doesHousekeeping makes and drops partitions, trims the tables, and folds the
// account.
func (w *town) doesHousekeeping() {
	w.t.Helper()
	house := upkeep.NewHousekeeping(w.db, "")
	must := func(what string, err error) {
		w.t.Helper()
		if err != nil {
			w.t.Errorf("%s: %v", what, err)
		}
	}
	// A partition of a day that has passed, with a row; a row in the default
	// partition that is too old; and a row there whose own partition is missing.
	w.exec("CREATE TABLE outbox_sent_20200101 PARTITION OF outbox_sent FOR VALUES FROM ('2020-01-01Z') TO ('2020-01-02Z')")
	w.exec(sentAt, "2020-01-01 12:00Z")
	w.exec(sentAt, "2020-02-01 12:00Z")
	w.exec("DROP TABLE outbox_sent_" + time.Now().UTC().AddDate(0, 0, 5).Format("20060102"))
	w.exec(sentAt, time.Now().UTC().AddDate(0, 0, 5))
	must("keep the partitions", house.KeepPartitions(w.t.Context(), time.Hour))
	w.exec("INSERT INTO outbox_entries (event_type, created_at) VALUES ('test:a', now())")
	_, err := house.FoldAccount(w.t.Context())
	must("fold the account", err)
	w.exec("INSERT INTO inbox VALUES (gen_random_uuid(), '2020-01-01')") // of an event that is in no table any more
	_, err = house.TrimInbox(w.t.Context(), 0, 1000)
	must("trim the inbox", err)
	w.eventually(0, "SELECT count(*) FROM inbox WHERE processed_at = '2020-01-01'")
	w.exec("UPDATE outbox_journal SET at = '2020-01-01'")
	w.exec("DELETE FROM outbox_dead")
	_, err = house.TrimInbox(w.t.Context(), time.Hour, 1000)
	must("trim the journal", err)
	w.eventually(0, "SELECT count(*) FROM outbox_journal")
	w.eventually(0, "SELECT count(*) FROM outbox_sent_default")
}

const sentAt = `INSERT INTO outbox_sent (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, sent_at)
	VALUES (gen_random_uuid(), 'test:old', '', '{}', 'default', now(), 0, 0, now(), $1)`
