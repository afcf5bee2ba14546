package reading_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"outboxd/app/faulttest"
	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/postgrestest"
	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/migrations"
	"outboxd/repository/postgres"
	"outboxd/repository/reading"
)

// types returns the types of the events that the reads find.
func types(t *testing.T, reads *reading.Reads) string {
	t.Helper()
	page, err := reading.NewLives(reads).Search(t.Context(), lives.Filter{}, domain.ID{}, 10)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for i := range page.Events {
		list = append(list, page.Events[i].Type)
	}
	return strings.Join(list, " ")
}

// inDatabase returns a URL of another database of the same server.
func inDatabase(t *testing.T, address, database string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + database
	return u.String()
}

func says(t *testing.T, reads *reading.Reads, part string) {
	t.Helper()
	if s, ok := reads.Standing(t.Context()); !ok || !strings.Contains(s.String(), part) {
		t.Errorf("it says %q, %t, and not %q", s, ok, part)
	}
}

// The pages read from a standby: what it has, how far it is behind, and what happens
// when it does not answer or is no standby.
func TestReadsFromAStandby(t *testing.T) {
	t.Parallel()
	primary := postgrestest.Start(t)
	db := schematest.Connect(t, primary.URL())
	if _, err := migrations.Core().Up(t.Context(), db.SQL(), servertest.Logger(t)); err != nil {
		t.Fatal(err)
	}
	standby := primary.Standby() // synchronous: it has every commit
	exec(t, db, "SELECT outboxd.emit('a:first', '{}')")
	proxy := faulttest.NewProxy(t, standby.URL())
	address := proxy.URL()
	open := func(ctx context.Context) (*postgres.Database, error) {
		return postgres.Open(ctx, postgres.Options{URL: address, MaxConns: 2, ConnectTimeout: 10 * time.Second, Logger: servertest.Logger(t)})
	}
	reads := reading.New(db, open, servertest.Logger(t)).LookEvery(10 * time.Millisecond)
	t.Cleanup(reads.Close)
	if reads.IsUsed() {
		t.Error("it looked at the standby before a query")
	}
	servertest.Eventually(t, "the standby has the event", func() bool { return types(t, reads) == "a:first" })
	says(t, reads, "read from a standby")

	// Another database of the standby is refused: it has other events.
	exec(t, db, "CREATE DATABASE other")
	address = inDatabase(t, standby.URL(), "other")
	elsewhere := reading.New(db, open, servertest.Logger(t)).LookEvery(10 * time.Millisecond)
	t.Cleanup(elsewhere.Close)
	servertest.Eventually(t, "the other database is refused", func() bool {
		s, ok := elsewhere.Standing(t.Context())
		return ok && strings.Contains(s.String(), "names another database than the primary's. This is read from the primary.")
	})

	// While the primary has never answered, nobody knows whether the standby is its own.
	line := faulttest.NewProxy(t, primary.URL())
	address = line.URL()
	away, err := open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(away.Close)
	line.Refuse()
	address = standby.URL()
	unknown := reading.New(away, open, servertest.Logger(t)).LookEvery(10 * time.Millisecond)
	t.Cleanup(unknown.Close)
	says(t, unknown, "The primary has not answered yet")
	line.Resume()
	servertest.Eventually(t, "the primary has answered", func() bool { s, _ := unknown.Standing(t.Context()); return s.Fault == "" })
	address = proxy.URL()

	// The standby stays behind. It answers without the second event.
	standby.Detach()
	exec(t, db, "ALTER SYSTEM SET synchronous_standby_names = ''")
	exec(t, db, "SELECT pg_reload_conf()")
	exec(t, db, "SELECT outboxd.emit('b:second', '{}')")
	if found := types(t, reads); found != "a:first" {
		t.Errorf("the standby answered %q", found)
	}
	servertest.Eventually(t, "it says how far the standby is behind", func() bool { s, _ := reads.Standing(t.Context()); return s.Bytes > 0 && s.Behind >= 0 })
	says(t, reads, "of the log behind")
	// An event that only the primary has is found there.
	if life, err := reading.NewLives(reads).Find(t.Context(), find(t, db, "b:second")); err != nil || life.Type != "b:second" {
		t.Errorf("the newer event: %+v, %v", life, err)
	}
	// Someone who has changed something sees the change.
	reads.Wrote(t.Context())
	if found := types(t, reads); found != "b:second a:first" {
		t.Errorf("after a change: %q", found)
	}
	says(t, reads, "does not have the last change yet. This is read from the primary.")

	// The standby falls silent: the answer comes from the primary, and says so.
	silent := reading.New(db, open, servertest.Logger(t)).LookEvery(10 * time.Millisecond)
	t.Cleanup(silent.Close)
	if found := types(t, silent); found != "a:first" {
		t.Fatalf("before the standby falls silent: %q", found)
	}
	proxy.Refuse()
	servertest.Eventually(t, "the primary answers", func() bool { return types(t, silent) == "b:second a:first" })
	says(t, silent, "The standby does not answer. This is read from the primary.")

	// The primary is refused as its own standby: reading from it would not relieve it.
	address = primary.URL()
	own := reading.New(db, open, servertest.Logger(t)).LookEvery(10 * time.Millisecond)
	t.Cleanup(own.Close)
	if found := types(t, own); found != "b:second a:first" {
		t.Errorf("from the primary: %q", found)
	}
	says(t, own, "no standby. This is read from the primary.")
	if n := count(t, db, "SELECT count(*) FROM outbox"); n != 2 {
		t.Errorf("%d events, want 2", n)
	}
}

// Without a standby, the primary answers.
func TestReadsWithoutAStandby(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	exec(t, db, "SELECT outboxd.emit('a:first', '{}')")
	reads := reading.New(db, nil, servertest.Logger(t))
	if found := types(t, reads); found != "a:first" {
		t.Errorf("%q", found)
	}
	reads.Wrote(t.Context())
	if _, ok := reads.Standing(t.Context()); ok || reads.IsUsed() {
		t.Error("it speaks of a standby")
	}
}
