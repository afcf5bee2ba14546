package embedded_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"outboxd/app/servertest"
)

func TestInProcessRedis(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Postgres, o.InProcessRedis = false, true
	var log bytes.Buffer
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	s := start(t, o)
	if !s.Forgetful() || s.RedisProcess() != nil || s.DatabaseURL() != "" {
		t.Error("not the in-process Redis alone")
	}
	address := s.RedisURL()
	if password := address[len("redis://:"):strings.Index(address, "@")]; strings.Contains(log.String(), password) || password == "" {
		t.Error("the password is in the log, or there is none")
	}
	if said := log.String(); !strings.Contains(said, "level=WARN") || strings.Contains(said, "installed") {
		t.Errorf("the warning is missing, or says that no server is installed: %s", said)
	}
	queue := client(t, address)
	if err := queue.Set(t.Context(), "brief", "value", 50*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "a key expires", func() bool { return queue.Exists(t.Context(), "brief").Val() == 0 })
	write(t, "", address)
	joined := start(t, o)
	if !joined.Forgetful() || joined.RedisURL() != address {
		t.Error("the second one did not join")
	}
	wantMarks(t, "", joined.RedisURL(), 1)
	if err := client(t, strings.Replace(address, "redis://:", "redis://:not", 1)).Ping(t.Context()).Err(); err == nil {
		t.Error("no password is needed")
	}
	closeServers(t, s)
	// The first process's data were in memory and are gone. The second one must not
	// pretend to have them.
	select {
	case err := <-joined.Failed():
		t.Log(err)
	case <-time.After(servertest.Patience):
		t.Error("the end of a joined in-process Redis is not reported")
	}
}
