package app_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"outboxd/app/servertest"
)

func TestOneProcessForEachRole(t *testing.T) {
	t.Parallel()
	databaseURL, redisURL, dataDir := servertest.Database(t), servertest.Redis(t), filepath.Join(t.TempDir(), "data")
	database, redis := "--database-url="+databaseURL, "--redis-url="+redisURL

	// The API knows of no Redis, and starts none.
	api := start(t, "--roles=api", database, "--data-dir="+dataDir)
	if _, err := os.Stat(dataDir); err == nil {
		t.Error("a process that needs no data directory has made one")
	}
	wantReady(t, api, "api", "postgres")
	wantListeners(t, api, 2)
	early := register(t, api.api, "ada@example.com")

	relay := start(t, "--roles=relay", "--relay-concurrency=4", database, redis)
	wantReady(t, relay, "relay", "postgres", "redis")
	if relay.api != "" {
		t.Error("the relay has an API")
	}
	wantListeners(t, relay, 1)
	worker := start(t, "--roles=worker", database, redis, "--data-dir="+dataDir, "--notify=log", "--example=on")
	wantReady(t, worker, "worker", "postgres", "redis")
	wantListeners(t, worker, 1)
	monitor := start(t, "--roles=monitor", database, redis)
	wantReady(t, monitor, "monitor", "postgres", "redis")
	wantListeners(t, monitor, 1)

	awaitSent(t, api.api, early)
	l := startLoad(t, api.api, 4)
	l.await(20)
	registered := append(l.finish(), early)
	b := openLedger(t, databaseURL).await(registered)
	if b.Users < len(registered) || b.Users > len(registered)+l.refused || b.Charged != 0 {
		t.Errorf("%d registered, and the books say %+v", len(registered), b)
	}
	if mails, repeats := countMails(t, dataDir); mails != b.Users || repeats != 0 {
		t.Errorf("%d mails and %d repeats for %d users", mails, repeats, b.Users)
	}
	wantProcessed(t, monitor.monitor, b.Users)
	for _, p := range []*process{api, relay, worker} {
		if status, _ := get(t, p.monitor+"/monitoring/tasks/"); status != http.StatusNotFound {
			t.Errorf("a process without the role monitor answers %d for its pages", status)
		}
	}
	for _, p := range []*process{api, relay, worker, monitor} {
		p.stop()
	}
}

func wantReady(t *testing.T, p *process, role string, checks ...string) {
	t.Helper()
	var ready readiness
	status := getJSON(t, p.monitor+"/readyz", &ready)
	var names []string
	for _, check := range ready.Checks {
		names = append(names, check.Name)
	}
	slices.Sort(names)
	if status != http.StatusOK || !slices.Equal(ready.Roles, []string{role}) || !slices.Equal(names, checks) {
		t.Errorf("/readyz of %s says %d %+v, want checks of %v", role, status, ready, checks)
	}
}

// wantListeners counts the TCP ports that a process listens on, where the kernel tells.
func wantListeners(t *testing.T, p *process, want int) {
	t.Helper()
	if runtime.GOOS != "linux" {
		return
	}
	proc := fmt.Sprintf("/proc/%d", p.cmd.Process.Pid)
	sockets := map[string]bool{} // by inode
	descriptors, err := filepath.Glob(proc + "/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, descriptor := range descriptors {
		if target, err := os.Readlink(descriptor); err == nil {
			sockets[strings.TrimSuffix(strings.TrimPrefix(target, "socket:["), "]")] = true
		}
	}
	var listening int
	for _, table := range []string{"/net/tcp", "/net/tcp6"} {
		text, err := os.ReadFile(proc + table)
		if err != nil && !os.IsNotExist(err) { // a kernel without IPv6
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			const state, inode, listen = 3, 9, "0A"
			if fields := strings.Fields(line); len(fields) > inode && fields[state] == listen && sockets[fields[inode]] {
				listening++
			}
		}
	}
	if listening != want {
		t.Errorf("%v: listens on %d ports, want %d", p.cmd.Args[3:], listening, want)
	}
}
