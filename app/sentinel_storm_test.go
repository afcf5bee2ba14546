package app_test

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/app/servertest"
	"outboxd/app/servertest/redistest"
)

var everyFailover = flag.Bool("every-failover", false, "run TestSentinelFailsOver, and suspend the leader for 90 s in TestTheLeaderIsSuspended")

// failovers is how often Sentinels promote a replica.
const failovers = 10

// load produces events until a time has passed.
func (l ledger) load(length time.Duration) {
	for end := time.Now().Add(length); time.Now().Before(end); <-time.After(50 * time.Millisecond) {
		l.produce(10)
	}
}

// settle waits until all notifications are sent, and reports how many events passed and how long that took.
func (l ledger) settle(when string) {
	l.t.Helper()
	begun := time.Now()
	within(l.t, 2*patience, "everything is sent "+when, func() bool { b := l.read(); return b.Sent == b.Users && b.Pending == 0 })
	b := l.read()
	l.t.Logf("%s: %d events, %d sent, %d dead, after %v", when, b.Users, b.Sent, b.Dead, time.Since(begun).Round(time.Millisecond))
	if b.Dead != 0 || b.Notifications != b.Users {
		l.t.Errorf("%d dead letters and %d notifications of %d users", b.Dead, b.Notifications, b.Users)
	}
}

// sentinelGroup is a master, a replica and three Sentinels.
type sentinelGroup struct {
	t         *testing.T
	nodes     []*redistest.Program
	addresses []string
}

func startSentinels(t *testing.T) *sentinelGroup {
	t.Helper()
	g := &sentinelGroup{t: t}
	data := []string{"requirepass data", "masterauth data", "repl-diskless-sync-delay 0"}
	master := redistest.StartProgram(t, data...)
	g.nodes = []*redistest.Program{master, redistest.StartProgram(t, append(data, fmt.Sprintf("replicaof 127.0.0.1 %d", master.Port))...)}
	for range 3 {
		watcher := redistest.StartProgram(t, "sentinel", fmt.Sprintf("sentinel monitor main 127.0.0.1 %d 2", master.Port), "sentinel auth-pass main data",
			"sentinel down-after-milliseconds main 300", "sentinel failover-timeout main 2000")
		g.addresses = append(g.addresses, watcher.Address())
	}
	return g
}

func (g *sentinelGroup) do(node *redistest.Program, args ...any) string {
	client := redis.NewClient(&redis.Options{Addr: node.Address(), Password: "data"})
	defer func() { _ = client.Close() }()
	answer, err := client.Do(context.WithoutCancel(g.t.Context()), args...).Result()
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(answer)
}

// roles waits until one node is the master and the other has its data.
func (g *sentinelGroup) roles() (master, replica *redistest.Program) {
	g.t.Helper()
	within(g.t, patience, "the replica has the master's data", func() bool {
		for n, node := range g.nodes {
			if strings.Contains(g.do(node, "INFO", "replication"), "state=online") {
				master, replica = node, g.nodes[1-n]
				return strings.Contains(g.do(replica, "INFO", "replication"), "master_link_status:up")
			}
		}
		return false
	})
	return master, replica
}

// TestSentinelFailsOver kills the master ten times while events pass, so that Sentinels promote the replica. Every second
// time the replica has not seen the last events. It runs only with -every-failover, as in make failovers.
func TestSentinelFailsOver(t *testing.T) {
	t.Parallel()
	if !*everyFailover {
		t.Skip("only with -every-failover")
	}
	g, databaseURL, dataDir := startSentinels(t), servertest.Database(t), t.TempDir()
	p := start(t, append(on(databaseURL, "redis-sentinel://:data@"+strings.Join(g.addresses, ",")+"/0?master=main", dataDir),
		"--roles=api,relay,worker", "--example=on", "--redis-check-interval=200ms")...)
	l := openLedger(t, databaseURL)
	for n := range failovers {
		master, replica := g.roles()
		stale := n%2 == 1
		if stale { // the link breaks, and the replica may not make a new one
			g.do(replica, "CONFIG", "SET", "masterauth", "wrong")
			g.do(master, "CLIENT", "KILL", "TYPE", "replica")
		}
		l.load(300 * time.Millisecond)
		master.Kill()
		begun := time.Now()
		within(t, patience, "the replica takes over", func() bool {
			l.produce(5)
			return strings.Contains(g.do(replica, "INFO", "replication"), "role:master")
		})
		g.do(replica, "CONFIG", "SET", "masterauth", "data")
		g.do(replica, "CONFIG", "REWRITE") // the Sentinels have written the wrong password to the file
		t.Logf("failover %d, to a stale replica: %v, took %v", n+1, stale, time.Since(begun).Round(time.Millisecond))
		master.Start()
		l.settle(fmt.Sprintf("after failover %d", n+1))
	}
	mails, repeats := countMails(t, dataDir)
	t.Logf("%d mails; %d more were sent twice", mails, repeats)
	p.stop()
}
