package app_test

import (
	"strings"
	"testing"

	"outboxd/app/faulttest"
	"outboxd/app/schematest"
	"outboxd/app/servertest"
)

// TestPagesStayUp looks at the pages of events and dead letters of an empty system, and while each of the servers is gone.
func TestPagesStayUp(t *testing.T) {
	t.Parallel()
	databaseURL := schematest.Database(t)
	database, redis := faulttest.NewProxy(t, databaseURL), faulttest.NewProxy(t, servertest.Redis(t))
	p := start(t, append(on(database.URL(), redis.URL(), t.TempDir()), "--roles=api,monitor", "--admin-token="+adminToken)...)
	page := startBrowser(t).open(strings.TrimPrefix(p.monitor, "http://"))
	look := func(path, shows string) {
		t.Helper()
		page.visit(path)
		page.await("main", shows)
		page.await("nav a", "^Overview$")
		page.wantAccessible()
		page.wantNarrow(path)
	}
	look("/events", "No matching events")
	look("/dead", "No dead letters")
	page.see("dead-empty")
	page.wantQuiet()

	var event string
	if err := schematest.Connect(t, databaseURL).SQL().QueryRowContext(t.Context(), "SELECT outboxd.emit('test:a', '{}')::text").Scan(&event); err != nil {
		t.Fatal(err)
	}
	redis.Refuse()
	look("/events", event)
	look("/events/"+event, "Emitted")
	look("/dead", "No dead letters")
	page.wantQuiet()
	redis.Resume()

	database.Refuse()
	for _, path := range []string{"/events", "/events/" + event, "/dead", "/dead/group?type=test%3Aa", "/dead/change?action=replay&type=test%3Aa"} {
		look(path, "The database is unavailable")
		page.await(`main a[href=""]`, "Try again")
		page.wantQuiet("503")
	}
	page.see("events-without-postgres")
	page.visit("/events?id=" + event)
	page.await("main", "The database is unavailable") // at its own address
	page.wantQuiet("503")
	for _, path := range []string{"/events", "/dead"} {
		if status, _ := get(t, p.monitor+path); status != 503 {
			t.Errorf("%s answers %d without its database, want 503", path, status)
		}
	}
	database.Resume()
	look("/events", event)
	page.wantQuiet()
	p.stop()
}
