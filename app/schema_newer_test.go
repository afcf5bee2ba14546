package app_test

import (
	"testing"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
)

// An older process works beside a newer schema, as during a roll-out, and logs that.
func TestAProcessSaysThatTheSchemaIsNewer(t *testing.T) {
	t.Parallel()
	url := servertest.Database(t)
	set := schematest.Later(t, map[string]string{rollingFile: rollingMigration})
	if _, err := set.Up(t.Context(), schematest.Connect(t, url).SQL(), servertest.Logger(t)); err != nil {
		t.Fatal(err)
	}
	p := start(t, append([]string{"--roles=relay"}, on(url, servertest.Redis(t), t.TempDir())...)...)
	line := p.awaitLog("the schema is newer than this outboxd, which works with it; after a roll-out, replace this outboxd by the new version")
	if line["unknown_migrations"] != 1.0 {
		t.Errorf("the line is %v", line)
	}
	p.stop()
}
