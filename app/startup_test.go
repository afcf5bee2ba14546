package app_test

import (
	"testing"

	"outboxd/app/faulttest"
	"outboxd/app/servertest"
)

// outboxd waits for a database that goes away while outboxd looks at its schema, just as for one
// that is away from the beginning.
func TestTheDatabaseGoesAwayWhileStarting(t *testing.T) {
	t.Parallel()
	databaseURL, redisURL := servertest.Database(t), servertest.Redis(t)
	if r := execute(t, nil, "migrate", "up", "--database-url="+databaseURL); r.code != 0 {
		t.Fatal(r.stderr)
	}
	proxy := faulttest.NewProxy(t, databaseURL)
	waited := 0
	for skip := 2; skip <= 6; skip++ {
		mend := proxy.Arm(faulttest.Trap{At: faulttest.AfterRequest, Skip: skip})
		p := start(t, append(on(proxy.URL(), redisURL, t.TempDir()), "--roles=relay", "--migrate=off")...)
		if p.log.find("the database went away; waiting for it") != nil {
			waited++
		}
		p.stop()
		mend()
	}
	if waited == 0 {
		t.Error("no connection was lost while outboxd looked at its schema: this test cannot tell")
	}
}
