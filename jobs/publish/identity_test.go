package publish_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/app/embedded"
	"outboxd/app/faulttest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/redistest"
	"outboxd/domain"
	"outboxd/domain/lost"
	"outboxd/jobs/jobstest"
)

func TestIdentityTellsWhatHappenedToRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	publisher, client := jobstest.Publisher(t, server.URL())
	identify := func() lost.QueueIdentity {
		t.Helper()
		var identity lost.QueueIdentity
		servertest.Eventually(t, "Redis says who it is", func() (ok bool) {
			var err error
			identity, err = publisher.Identify(t.Context(), "n")
			return err == nil
		})
		return identity
	}
	if err := publisher.Mark(t.Context(), "n", "a"); err != nil {
		t.Fatal(err)
	}
	first := identify()
	if len(first.RunID) != 40 || len(first.ReplicationID) != 40 || first.Canary != "a" || identify().Change(first) != "" {
		t.Fatalf("identity %+v", first)
	}
	if other, err := publisher.Identify(t.Context(), "other"); err != nil || other.Canary != "" {
		t.Errorf("another database's canary: %+v, %v", other, err)
	}
	for _, step := range []struct {
		known string
		done  bool
		want  string
	}{{"x", false, "a"}, {"a", true, "b"}, {"a", false, "b"}} {
		done, err := publisher.Advance(t.Context(), "n", step.known, "b")
		if err != nil || done != step.done || identify().Canary != step.want {
			t.Errorf("advance from %s: %t, %v, and the canary is %s", step.known, done, err, identify().Canary)
		}
	}
	if ttl := client.TTL(t.Context(), "asynq:{outboxd}:canary:n").Val(); ttl != -1 {
		t.Errorf("the canary lives for %v", ttl)
	}
	before := identify()
	server.Kill()
	if _, err := publisher.Identify(t.Context(), "n"); domain.ErrorCode(err) != domain.CodeUnavailable {
		t.Errorf("without Redis: %v", err)
	}
	server.Start()
	if after := identify(); after.Canary != "b" || after.RunID == before.RunID || after.Change(before) == "" {
		t.Errorf("after a restart %+v, before %+v", after, before)
	}
	server.Flush()
	if after := identify(); after.Canary != "" || after.Change(before) == "" {
		t.Errorf("after a flush %+v", after)
	}
	if done, err := publisher.Advance(t.Context(), "n", "b", "c"); err != nil || done {
		t.Errorf("advance in an emptied Redis: %t, %v", done, err)
	}
	if err := client.ReplicaOf(t.Context(), "127.0.0.1", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := publisher.Identify(t.Context(), "n"); domain.ErrorCode(err) != domain.CodeUnavailable {
		t.Errorf("a replica: %v, want unavailable", err)
	}
	if err := client.ReplicaOf(t.Context(), "no", "one").Err(); err != nil {
		t.Fatal(err)
	}
	if after := identify(); after.ReplicationID == before.ReplicationID {
		t.Error("a promotion left the replication ID")
	}
	if err := client.Do(t.Context(), "ACL", "SETUSER", "default", "-info").Err(); err != nil {
		t.Fatal(err)
	}
	if hidden := identify(); hidden.RunID != "" || hidden.ReplicationID != "" || hidden.Over(before).RunID != before.RunID {
		t.Errorf("without INFO %+v", hidden)
	}
}

// Only the script's own numbers, and SET's own word, say what became of the
// canary.
func TestOnlyTheCanarysOwnAnswersCount(t *testing.T) {
	t.Parallel()
	proxy := faulttest.NewFaultProxy(t, servertest.Redis(t))
	publisher, client := jobstest.Publisher(t, proxy.URL())
	if err := publisher.Mark(t.Context(), "n", "a"); err != nil {
		t.Fatal(err)
	}
	for _, reply := range []string{"+1", "+OK", ":7", ":-1", "$-1", "*1\r\n:1", "-ERR no"} {
		proxy.Break("EVAL", faulttest.Fault{Reply: reply + "\r\n"})
		if done, err := publisher.Advance(t.Context(), "n", "a", "b"); done || domain.ErrorCode(err) != domain.CodeUnavailable {
			t.Errorf("renewing the canary, answered with %q: %t, %v", reply, done, err)
		}
		if reply == "+OK" {
			continue
		}
		proxy.Break("SET", faulttest.Fault{Reply: reply + "\r\n"})
		if err := publisher.Mark(t.Context(), "n", "b"); domain.ErrorCode(err) != domain.CodeUnavailable {
			t.Errorf("setting the canary, answered with %q: %v", reply, err)
		}
	}
	proxy.Mend()
	if canary := client.Get(t.Context(), "asynq:{outboxd}:canary:n").Val(); canary != "a" {
		t.Errorf("the canary is %q", canary)
	}
}

// The in-process Redis knows no INFO, so its identity is the canary alone.
func TestIdentityOfTheInProcessRedis(t *testing.T) {
	t.Parallel()
	servers, err := embedded.Start(t.Context(), embedded.Options{Redis: true, InProcessRedis: true, DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = servers.Close(context.Background()) })
	publisher, _ := jobstest.Publisher(t, servers.RedisURL())
	if err := publisher.Mark(t.Context(), "n", "a"); err != nil {
		t.Fatal(err)
	}
	if done, err := publisher.Advance(t.Context(), "n", "a", "b"); err != nil || !done {
		t.Errorf("advance: %t, %v", done, err)
	}
	if identity, err := publisher.Identify(t.Context(), "n"); err != nil || identity != (lost.QueueIdentity{Canary: "b"}) {
		t.Errorf("identity %+v, %v", identity, err)
	}
}

// If Redis was emptied without an outage, the Publisher announces the queues
// again after Renew.
func TestRenewTellsRedisAboutItsQueues(t *testing.T) {
	t.Parallel()
	publisher, client := jobstest.Publisher(t, servertest.Redis(t))
	publish := func() {
		t.Helper()
		for _, receipt := range publisher.Publish(t.Context(), jobstest.Events(1)) {
			err := receipt.Failure()
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	publish()
	if err := client.FlushDB(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	publisher.Renew()
	publish()
	if !client.SIsMember(t.Context(), "asynq:queues", "default").Val() {
		t.Error("the queue is unknown to Asynq's tools")
	}
}

func TestPublishWaitsForReplicas(t *testing.T) {
	t.Parallel()
	main, replica := redistest.Start(t), redistest.Start(t)
	publisher, client := jobstest.Publisher(t, main.URL())
	publisher.WaitReplicas(1)
	_, follower := jobstest.Publisher(t, replica.URL())
	unavailable := func(what string) {
		t.Helper()
		if err := publisher.Ping(t.Context()); domain.ErrorCode(err) != domain.CodeUnavailable {
			t.Errorf("%s: Ping: %v, want unavailable", what, err)
		}
		for _, receipt := range publisher.Publish(t.Context(), jobstest.Events(3)) {
			err := receipt.Failure()
			if domain.ErrorCode(err) != domain.CodeUnavailable {
				t.Errorf("%s: Publish: %v, want unavailable", what, err)
			}
		}
	}
	unavailable("without a replica")
	follow(t, client, follower)
	servertest.Eventually(t, "the replica is in step", func() bool { return publisher.Ping(t.Context()) == nil })
	for _, receipt := range publisher.Publish(t.Context(), jobstest.Events(6)) {
		err := receipt.Failure()
		if err != nil {
			t.Errorf("with a replica: %v", err)
		}
	}
	if n := follower.LLen(t.Context(), "asynq:{default}:pending").Val(); n != 6 {
		t.Errorf("the replica has %d tasks at once, want 6", n)
	}
	replica.Pause()
	unavailable("with a replica that hangs") // though each of these tasks was there before
	replica.Resume()
	servertest.Eventually(t, "the replica is in step again", func() bool { return publisher.Ping(t.Context()) == nil })
	for _, receipt := range publisher.Publish(t.Context(), jobstest.Events(6)) {
		err := receipt.Failure()
		if err != nil {
			t.Errorf("with the replica again: %v", err)
		}
	}
}

// follow makes one Redis server of the test the replica of another: over TCP, which replication
// needs, at a free port.
func follow(t *testing.T, main, replica *redis.Client) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close()
	for _, setting := range [][2]string{{"bind", "127.0.0.1"}, {"port", fmt.Sprint(port)}, {"repl-diskless-sync-delay", "0"}} {
		if err := main.ConfigSet(t.Context(), setting[0], setting[1]).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := replica.ReplicaOf(t.Context(), "127.0.0.1", fmt.Sprint(port)).Err(); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "the replica has caught up", func() bool {
		n, err := main.Wait(t.Context(), 1, 100*time.Millisecond).Result()
		return err == nil && n == 1
	})
}
