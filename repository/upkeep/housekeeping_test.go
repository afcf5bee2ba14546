package upkeep_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/repository"
	"outboxd/repository/postgres"
	"outboxd/repository/repositorytest"
	"outboxd/repository/upkeep"
)

func TestKeepPartitions(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	keeping := upkeep.NewHousekeeping(db, "")
	emit(t, db, 1)
	// There was no leader for a while, so today's rows and very old ones are in
	// the default partition.
	for _, at := range []string{"now()", "now() - interval '30 days'"} {
		exec(t, db, `INSERT INTO outbox_sent SELECT (jsonb_populate_record(NULL::outbox_sent, to_jsonb(o) || jsonb_build_object('sent_at', `+at+`))).* FROM outbox o`)
	}
	old := time.Now().UTC().AddDate(0, 0, -9).Format("20060102")
	exec(t, db, `CREATE TABLE outbox_sent_`+old+` PARTITION OF outbox_sent FOR VALUES FROM ('`+old+`') TO ('`+
		time.Now().UTC().AddDate(0, 0, -8).Format("20060102")+`')`)
	for range 2 { // the second time finds nothing to do
		if err := keeping.KeepPartitions(t.Context(), 7*24*time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	for query, want := range map[string]int{
		"SELECT count(*) FROM pg_inherits WHERE inhparent = 'outbox_sent'::regclass": 9, // default, today, seven ahead
		"SELECT count(*) FROM outbox_sent":                                           1,
		"SELECT count(*) FROM outbox_sent_default":                                   0,
		"SELECT count(*) FROM outbox_sent_" + time.Now().UTC().Format("20060102"):    1,
		"SELECT count(to_regclass('outbox_sent_" + old + "'))":                       0,
	} {
		if got := count(t, db, query); got != want {
			t.Errorf("%s: %d, want %d", query, got, want)
		}
	}
}

// A query that comes while rows are on their way from the default partition to
// a new one finds them.
func TestAQueryFindsRowsThatArePutIntoAPartition(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	emit(t, db, 1)
	exec(t, db, `INSERT INTO outbox_sent SELECT (jsonb_populate_record(NULL::outbox_sent, to_jsonb(o) || jsonb_build_object('sent_at', now()))).* FROM outbox o`)
	var found int
	var err error
	for range 5 { // making a partition waits at most 2 s for a lock, and a step of this test may take longer on a busy machine
		if found, err = countWhilePartitionIsMade(t, db); err == nil {
			break
		}
	}
	if err != nil || found != 1 {
		t.Errorf("found %d rows, want 1; %v", found, err)
	}
}

// countWhilePartitionIsMade counts the history by a query that comes while
// KeepPartitions makes today's partition and waits for a session that uses the
// default one. The error is that of KeepPartitions.
func countWhilePartitionIsMade(t *testing.T, db *postgres.Database) (found int, err error) {
	t.Helper()
	tx, err := db.SQL().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(t.Context(), "LOCK TABLE outbox_sent_default IN ROW EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	kept := make(chan error, 1)
	go func() { kept <- upkeep.NewHousekeeping(db, "").KeepPartitions(t.Context(), time.Hour) }()
	counted := make(chan int, 1)
	waiting := func() int {
		return count(t, db, `SELECT count(*) FROM pg_locks WHERE NOT granted AND relation IN ('outbox_sent'::regclass, 'outbox_sent_default'::regclass)`)
	}
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for asked := false; ; <-look.C {
		select {
		case err := <-kept:
			return 0, err
		default:
		}
		switch n := waiting(); {
		case n == 1 && !asked:
			asked = true
			go func() {
				var n int
				_ = db.SQL().QueryRowContext(t.Context(), "SELECT count(*) FROM outbox_sent").Scan(&n)
				counted <- n
			}()
		case n == 2:
			if err := tx.Rollback(); err != nil {
				t.Fatal(err)
			}
			err := <-kept
			return <-counted, err
		}
	}
}

func TestTrimming(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	keeping := upkeep.NewHousekeeping(db, "")
	exec(t, db, `INSERT INTO inbox SELECT gen_random_uuid(), now() - n * interval '1 hour' FROM generate_series(1, 10) n`)
	exec(t, db, `INSERT INTO outbox_relays (id, host, pid, version, seen_at) SELECT gen_random_uuid(), 'h', 1, 'v', now() - n * interval '1 hour' FROM generate_series(0, 1) n`)
	for _, want := range []int64{3, 2, 0} {
		if n, err := keeping.TrimInbox(t.Context(), 330*time.Minute, 3); err != nil || n != want {
			t.Errorf("TrimInbox: %d, %v, want %d", n, err, want)
		}
	}
	if err := keeping.TrimRelays(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	if n := count(t, db, "SELECT count(*) FROM outbox_relays"); n != 1 {
		t.Errorf("%d relays are left, want 1", n)
	}
}

// While an event is in the history, it stays confirmed, however old its confirmation is: the
// history drops whole days, and a day may stay for longer.
func TestAnEventOfTheHistoryStaysConfirmed(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	keeping := upkeep.NewHousekeeping(db, "")
	const history, ago = 24 * time.Hour, "now() - interval '3 days'"
	emit(t, db, 2)
	repositorytest.RelayAll(t, store)
	repositorytest.Confirm(t, db, "test:1")
	repositorytest.Confirm(t, db, "test:2")
	// The partition of the first event was not dropped yet. The second event was sent again after
	// its confirmation, so it is in the partition of today.
	day := time.Now().UTC().AddDate(0, 0, -3)
	exec(t, db, `CREATE TABLE outbox_sent_`+day.Format("20060102")+` PARTITION OF outbox_sent FOR VALUES FROM ('`+day.Format(time.DateOnly)+`Z') TO ('`+day.AddDate(0, 0, 1).Format(time.DateOnly)+`Z')`)
	exec(t, db, `UPDATE outbox_sent SET sent_at = `+ago+` WHERE event_type = 'test:1'`)
	exec(t, db, `UPDATE inbox SET processed_at = `+ago)
	exec(t, db, `INSERT INTO inbox SELECT gen_random_uuid(), now() - interval '5 days' FROM generate_series(1, 5)`)
	trim := func(want, left int) {
		t.Helper()
		for n := int64(2); n == 2; {
			var err error
			if n, err = keeping.TrimInbox(t.Context(), history, 2); err != nil {
				t.Fatal(err)
			}
			want -= int(n)
		}
		if n := count(t, db, "SELECT count(*) FROM inbox"); n != left || want != 0 {
			t.Errorf("the inbox has %d rows, want %d; %d too few were trimmed", n, left, want)
		}
	}
	trim(5, 2)
	if err := keeping.KeepPartitions(t.Context(), history); err != nil {
		t.Fatal(err)
	}
	if n := count(t, db, "SELECT sum(confirmed - unconfirmed) FROM outbox_account"); n != 1 {
		t.Errorf("%d events left the history confirmed, want 1", n)
	}
	trim(1, 1)
	if n := count(t, db, "SELECT count(*) FROM outbox_sent s JOIN inbox i ON i.event_id = s.id"); n != 1 {
		t.Error("the event that was sent again is no longer confirmed")
	}
}

func TestBacklog(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	keeping := upkeep.NewHousekeeping(db, "")
	if b, chores, err := keeping.Measure(t.Context(), domain.RelayProcess{}, nil); err != nil || b != (domain.Backlog{}) || chores != (domain.Chores{}) {
		t.Errorf("of an empty outbox: %+v, %v", b, err)
	}
	emit(t, db, 3)
	exec(t, db, `INSERT INTO outbox (event_type, payload, available_at) VALUES ('a', '', '2020-01-01Z'), ('a', '', '2100-01-01Z')`)
	exec(t, db, schematest.DeadOf("e")+"FROM outbox o WHERE o.event_type = 'a'")
	b, _, err := keeping.Measure(t.Context(), domain.RelayProcess{}, nil)
	if err != nil || b.Pending != 5 || b.Estimated || b.OldestDue.UTC().Year() != 2020 || b.Dead != 2 {
		t.Errorf("%+v, %v", b, err)
	}
	exec(t, db, `INSERT INTO outbox (event_type, payload) SELECT 'a', '' FROM generate_series(1, 60000)`)
	exec(t, db, `ANALYZE outbox`)
	if b, _, err := keeping.Measure(t.Context(), domain.RelayProcess{}, nil); err != nil || !b.Estimated || b.Pending < 50_000 || b.Pending > 70_000 {
		t.Errorf("of 60,005: %+v, %v", b, err)
	}
}

// One of two leads. When it ends, it closes its connection, and the other one leads.
func TestLeadershipEndsWithTheConnection(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	keeping := upkeep.NewHousekeeping(db, "")
	leading := make(chan int, 2)
	var leads [2]func()
	for i := range leads {
		ctx, cancel := context.WithCancel(t.Context())
		leads[i] = cancel
		go func() {
			_ = keeping.Lead(ctx, func(ctx context.Context, _ domain.StillLeads) error {
				leading <- i
				<-ctx.Done()
				return ctx.Err()
			})
		}()
	}
	first := <-leading
	select {
	case <-leading:
		t.Fatal("two lead at once")
	default:
	}
	leads[first]()
	if second := <-leading; second == first {
		t.Error("the same one leads again")
	}
	leads[1-first]()
}

func TestPresence(t *testing.T) {
	t.Parallel()
	url := schematest.Database(t)
	db := schematest.Connect(t, url)
	presence := repository.NewPresence(db, url)
	process := domain.RelayProcess{ID: domain.ID{1}, Host: "h", PID: 1, Version: "v"}
	for _, asleep := range []bool{false, true} {
		if err := presence.Show(t.Context(), process, asleep); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, db, "SELECT count(*) FROM outbox_relays WHERE asleep"); n != 1 {
		t.Errorf("%d sleepers", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	notified, ended := make(chan domain.Notice), make(chan error, 1)
	go func() {
		ended <- presence.Listen(ctx, func(about domain.Notice) { notified <- about })
	}()
	hears := func(want domain.Notice) {
		t.Helper()
		select {
		case about := <-notified:
			if about != want {
				t.Errorf("heard %d, want %d", about, want)
			}
		case err := <-ended:
			t.Fatalf("Listen ended: %v", err)
		}
	}
	hears(domain.NoticeEvents) // it listens
	hears(domain.NoticeSubscriptions)
	exec(t, db, "SELECT pg_notify('outbox_wake', 'another schema')")
	emit(t, db, 1)
	hears(domain.NoticeEvents)
	exec(t, db, `INSERT INTO outbox_subscriptions (name, types, patterns, url, format, timeout_ms, concurrency, attempts, retry_max_ms, ordering)
		VALUES ('crm', '{*}', '{%}', 'http://localhost', 'raw', 1000, 1, 1, 1000, 'none')`)
	hears(domain.NoticeSubscriptions)
	exec(t, db, "UPDATE outbox_subscriptions SET down_reason = 'away', down_until = now()") // a worker's report
	exec(t, db, "UPDATE outbox_subscriptions SET paused_at = now()")
	hears(domain.NoticeSubscriptions)
	exec(t, db, "SELECT pg_notify('outbox_wake', current_schema())")
	hears(domain.NoticeEvents)
	cancel()
	if err := <-ended; err == nil {
		t.Error("Listen returned without an error")
	}
	if err := presence.Leave(t.Context(), process); err != nil {
		t.Fatal(err)
	}
	if n := count(t, db, "SELECT count(*) FROM outbox_relays"); n != 0 {
		t.Errorf("%d relays after leaving", n)
	}
}

func TestListenNoticesALostConnection(t *testing.T) {
	t.Parallel()
	url := schematest.Database(t)
	db := schematest.Connect(t, url)
	presence := repository.NewPresence(db, url+"&application_name=listener_to_lose")
	listening, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- presence.Listen(t.Context(), func(about domain.Notice) {
			if about == domain.NoticeEvents {
				close(listening)
			}
		})
	}()
	select {
	case <-listening:
	case err := <-ended:
		t.Fatalf("Listen ended: %v", err)
	}
	exec(t, db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'listener_to_lose'")
	if err := <-ended; domain.ErrorCode(err) != domain.CodeUnavailable {
		t.Errorf("%v, want unavailable", err)
	}
}

func TestUpkeep(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	keeping := upkeep.NewHousekeeping(db, "")
	exec(t, db, `CREATE TABLE outbox_sent_20200101 PARTITION OF outbox_sent FOR VALUES FROM ('2020-01-01 00:00Z') TO ('2020-01-02 00:00Z')`)
	tx, err := db.SQL().BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	var begun time.Time
	if err := tx.QueryRowContext(t.Context(), "SELECT now()").Scan(&begun); err != nil {
		t.Fatal(err)
	}
	u, err := keeping.Upkeep(t.Context(), time.Hour)
	if err != nil || u.OverduePartitions != 1 {
		t.Errorf("got %+v, %v, want one partition that is overdue", u, err)
	}
	// The database is the test's own, but a transaction that began earlier may still be open.
	if u.Snapshot.Begun.IsZero() || u.Snapshot.Begun.After(begun) || u.Snapshot.PID == 0 {
		t.Errorf("the oldest snapshot is of %+v, and there is one of %v", u.Snapshot, begun)
	}
	if err := keeping.KeepPartitions(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	if u, err := keeping.Upkeep(t.Context(), time.Hour); err != nil || u.OverduePartitions != 0 {
		t.Errorf("got %+v, %v, want nothing overdue", u, err)
	}
}
