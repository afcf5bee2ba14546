package embedded_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/app/embedded"
	"outboxd/app/servertest"
)

func TestSecondProcessJoins(t *testing.T) {
	t.Parallel()
	o := options(t)
	owner := startDaemon(t, o)
	write(t, owner.Database, owner.Redis)
	began := time.Now()
	s := start(t, o)
	t.Logf("joined within %v", time.Since(began).Round(time.Millisecond))
	if s.PostgresProcess() != nil || s.RedisProcess() != nil {
		t.Error("the second process has servers of its own")
	}
	if s.DatabaseURL() != owner.Database || s.RedisURL() != owner.Redis {
		t.Errorf("joined %s and %s, the owner's are %s and %s", s.DatabaseURL(), s.RedisURL(), owner.Database, owner.Redis)
	}
	wantMarks(t, s.DatabaseURL(), s.RedisURL(), 1)
	closeServers(t, s)
	wantMarks(t, owner.Database, owner.Redis, 1) // the owner's servers run on
}

// TestJoinedProcessTakesOver ends the owner, politely and not, under two processes that have joined.
func TestJoinedProcessTakesOver(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*daemon){"quit": (*daemon).quit, "killed": (*daemon).kill} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			owner := startDaemon(t, o)
			write(t, owner.Database, owner.Redis)
			joined := []*embedded.Servers{start(t, o), start(t, o)}
			end(owner)
			began := time.Now()
			servertest.Eventually(t, "one of the joined processes owns PostgreSQL, and one Redis", func() bool {
				databases, queues := 0, 0
				for _, s := range joined {
					if s.PostgresProcess() != nil {
						databases++
					}
					if s.RedisProcess() != nil {
						queues++
					}
				}
				return databases == 1 && queues == 1
			})
			t.Logf("taken over within %v", time.Since(began).Round(time.Millisecond))
			for _, s := range joined {
				wantMarks(t, s.DatabaseURL(), s.RedisURL(), 1)
				select {
				case err := <-s.Failed():
					t.Errorf("a joined process failed: %v", err)
				default:
				}
			}
			// The next process joins the new owner.
			third := start(t, o)
			if third.PostgresProcess() != nil || third.DatabaseURL() != owner.Database {
				t.Errorf("the next process did not join")
			}
		})
	}
}

// TestOneServerThenBoth is a process with the role api, and then one with all roles, on one data directory.
func TestOneServerThenBoth(t *testing.T) {
	t.Parallel()
	o := options(t)
	api := o
	api.Redis = false
	first := start(t, api)
	if first.RedisURL() != "" || first.Forgetful() || first.RedisProcess() != nil {
		t.Error("a Redis that was not asked for")
	}
	second := start(t, o)
	if second.PostgresProcess() != nil || second.RedisProcess() == nil {
		t.Error("the second process must join PostgreSQL and own Redis")
	}
	write(t, first.DatabaseURL(), second.RedisURL())
	wantMarks(t, second.DatabaseURL(), second.RedisURL(), 1)
	closeServers(t, first)
	servertest.Eventually(t, "the second process takes PostgreSQL over", func() bool { return second.PostgresProcess() != nil })
	wantMarks(t, second.DatabaseURL(), second.RedisURL(), 1)
}

func TestManyStartAtOnce(t *testing.T) {
	t.Parallel()
	o := options(t)
	all := make([]*embedded.Servers, 6)
	var ready sync.WaitGroup
	for i := range all {
		ready.Go(func() {
			s, err := embedded.Start(t.Context(), o)
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { closeServers(t, s) })
			all[i] = s
		})
	}
	ready.Wait()
	if t.Failed() {
		return
	}
	owners := 0
	for _, s := range all {
		if s.PostgresProcess() != nil {
			owners++
		}
		write(t, s.DatabaseURL(), s.RedisURL())
	}
	if owners != 1 {
		t.Errorf("%d owners of PostgreSQL, want 1", owners)
	}
	wantMarks(t, all[0].DatabaseURL(), all[0].RedisURL(), len(all))
}

// TestJoinWaitsForAnOwnerThatDies starts a process while another one makes the data directory, and kills that one.
func TestJoinWaitsForAnOwnerThatDies(t *testing.T) {
	t.Parallel()
	o := options(t)
	owner, _ := launch(t, o)
	servertest.Eventually(t, "the owner begins", func() bool { return locked(o.DataDir) })
	var wait sync.WaitGroup
	var s *embedded.Servers
	var err error
	wait.Go(func() { s, err = embedded.Start(t.Context(), o) })
	owner.kill()
	wait.Wait()
	if err != nil {
		t.Fatal(err)
	}
	defer closeServers(t, s)
	if s.PostgresProcess() == nil {
		t.Error("joined a dead process")
	}
	write(t, s.DatabaseURL(), s.RedisURL())
}

// TestJoinGivesUp has an owner whose PostgreSQL hangs.
func TestJoinGivesUp(t *testing.T) {
	t.Parallel()
	o := options(t)
	owner := startDaemon(t, o)
	if err := stopProcess(owner.PostgresPID); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = continueProcess(owner.PostgresPID) }()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	s, err := embedded.Start(ctx, o)
	if err == nil {
		closeServers(t, s)
		t.Fatal("joined a server that does not answer")
	}
	t.Log(err)
}

// TestConnectionsReturnAfterATakeover kills the owner, and connects until this process owns
// a PostgreSQL at the same address.
func TestConnectionsReturnAfterATakeover(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Redis = false
	owner := startDaemon(t, o)
	s := start(t, o)
	write(t, s.DatabaseURL(), "")
	owner.kill()
	began := time.Now()
	servertest.Eventually(t, "the address answers again", func() bool {
		conn, err := pgx.Connect(t.Context(), s.DatabaseURL())
		if err != nil {
			return false
		}
		defer func() { _ = conn.Close(t.Context()) }()
		return s.PostgresProcess() != nil && conn.Ping(t.Context()) == nil
	})
	t.Logf("outage of %v", time.Since(began).Round(time.Millisecond))
	wantMarks(t, s.DatabaseURL(), "", 1)
}
