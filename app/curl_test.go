package app_test

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain/access"
)

// TestTheGuidesRequestsByCurl runs the guide's block of requests with the token of an operator: an export of dead
// letters, the pause of a queue, and a replay.
func TestTheGuidesRequestsByCurl(t *testing.T) {
	t.Parallel()
	operator := personOf("script", access.Operator)
	databaseURL, redisURL := schematest.Database(t), servertest.Redis(t)
	p := start(t, append(on(databaseURL, redisURL, t.TempDir()), "--roles=relay,monitor", "--access-tokens="+operator.entry)...)
	db := openLedger(t, databaseURL)
	ask := func(query string) (answer string) {
		t.Helper()
		if err := db.conn.QueryRow(t.Context(), query).Scan(&answer); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		return answer
	}
	ask(`SELECT outboxd.emit('mail:send', '{}', queue => 'mail')::text`)
	eventually(t, "the queue mail exists", func() bool { return ask("SELECT count(*)::text FROM outbox_sent") == "1" })
	for range 2 {
		ask(`INSERT INTO outbox_dead (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, stage, error)
			VALUES (outbox_new_id(), 'invoice:send', '{}', '{}', 'mail', now(), 1, 0, now(), 'worker', 'no such template') RETURNING ''`)
	}

	blocks := blocksOf(t, "../docs/guides/sign-in.md")
	at := slices.IndexFunc(blocks, func(b block) bool { return slices.Contains(b.words, "run="+t.Name()) })
	if at < 0 {
		t.Fatal("the guide has no block that this test runs")
	}
	dir := t.TempDir()
	shell := exec.CommandContext(t.Context(), "bash", "-e", "-c", strings.ReplaceAll(blocks[at].text, "http://localhost:8081", p.monitor))
	shell.Dir, shell.Env = dir, append(os.Environ(), "TOKEN="+operator.token)
	out, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if dead, err := os.ReadFile(filepath.Join(dir, "dead.csv")); err != nil || strings.Count(string(dead), "invoice:send") != 2 {
		t.Errorf("the export is %s, %v", dead, err)
	}
	location := regexp.MustCompile(`(?im)^location: (\S+)`).FindSubmatch(out)
	if location == nil {
		t.Fatalf("the answer names no page with the progress:\n%s", out)
	}
	progress, err := url.Parse(p.monitor + "/dead/change")
	if err == nil {
		progress, err = progress.Parse(string(location[1]))
	}
	if err != nil {
		t.Fatal(err)
	}
	// The canary of two waits in the queue, which is paused.
	read := func() string {
		out, err := exec.CommandContext(t.Context(), "curl", "-s", "-H", "Authorization: Bearer "+operator.token, progress.String()).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	eventually(t, "the page shows the progress", func() bool { return strings.Contains(read(), "Queue mail is paused") })
	eventually(t, "the dead letters are replayed", func() bool { return ask("SELECT count(*)::text FROM outbox_dead") == "0" })
	const recorded = "SELECT string_agg(concat_ws(' ', action, filter ->> 'queue', filter ->> 'type', filter ->> 'canary', filter ->> 'rate', reason), '; ' ORDER BY at) FROM outbox_actions WHERE actor = 'script'"
	if got := ask(recorded); got != "pause mail mail server down; replay invoice:send 5 50 the handler is mended" {
		t.Errorf("recorded is %q", got)
	}
	p.stop()
}
