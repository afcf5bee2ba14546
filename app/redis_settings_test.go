package app_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/redistest"
)

// TestRedisKeepsItsTasks pastes the commands of the guide that let Redis keep its tasks into a shell. Redis then has
// its data and these settings after a crash. The user default can no longer empty it by FLUSHALL or FLUSHDB, and
// outboxd works as this user.
func TestRedisKeepsItsTasks(t *testing.T) {
	t.Parallel()
	redis := redistest.StartProgram(t, "maxmemory-policy allkeys-lru")
	url, databaseURL := "redis://"+redis.Address(), schematest.Database(t)
	shell := &pasting{t: t, dir: t.TempDir(), environ: append(servertest.Environ(), processVariable+"=1",
		"PATH="+outboxdOnPath(t)+":"+os.Getenv("PATH"), "OUTBOXD_REDIS_URL="+url, "OUTBOXD_DATABASE_URL="+databaseURL)}
	shell.open()
	var out, status string
	pasted := 0
	for _, b := range blocksOf(t, "../docs/guides/redis.md") {
		if slices.Contains(b.words, "run="+t.Name()) {
			pasted++
			if out, status = shell.paste(b.text); status != "0" || strings.Contains(out, "ERR") {
				t.Fatalf("line %d: status %s\n%s", b.line, status, out)
			}
		}
	}
	if pasted != 2 {
		t.Fatalf("%d blocks of commands, want 2", pasted)
	}
	servertest.Eventually(t, "the append-only file is complete", func() bool {
		out, status = shell.paste(`eval "$R" INFO persistence | tr -d '\r' | grep -x aof_rewrite_in_progress:0`)
		return status == "0"
	})

	p := start(t, append(on(databaseURL, url, t.TempDir()), "--roles=relay")...)
	db := openLedger(t, databaseURL)
	var event string
	db.scan(&event, `SELECT outboxd.emit('test:kept', '{}')::text`)
	eventually(t, "outboxd enqueues an event", func() bool {
		var sent int
		db.scan(&sent, `SELECT count(*) FROM outbox_sent`)
		return sent == 1
	})
	p.stop()

	redis.Kill()
	redis.Start()
	for command, want := range map[string]string{
		"LLEN asynq:{default}:pending": "1",
		"CONFIG GET appendonly":        "appendonly\nyes",
		"CONFIG GET maxmemory-policy":  "maxmemory-policy\nnoeviction",
		"FLUSHALL":                     "NOPERM",
		"FLUSHDB ASYNC":                "NOPERM",
	} {
		if out, _ := shell.paste(`eval "$R" ` + command); !strings.Contains(out, want) {
			t.Errorf("after a crash %s says %q, want %q", command, out, want)
		}
	}
}
