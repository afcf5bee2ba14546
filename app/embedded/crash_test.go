package embedded_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"outboxd/app/embedded"
	"outboxd/app/servertest"
)

// TestKilledOwnerLeavesNothingRunning kills the owner with SIGKILL while clients are connected.
func TestKilledOwnerLeavesNothingRunning(t *testing.T) {
	t.Parallel()
	o := options(t)
	owner := startDaemon(t, o)
	write(t, owner.Database, owner.Redis) // its connections stay open
	owner.kill()
	began := time.Now()
	servertest.Eventually(t, "the servers of a killed owner end", func() bool { return !runs(owner.PostgresPID) && !runs(owner.RedisPID) })
	t.Logf("servers gone %v after their owner", time.Since(began).Round(time.Millisecond))
	s := start(t, o)
	wantMarks(t, s.DatabaseURL(), s.RedisURL(), 1)
}

// TestStartRightAfterAKill does not wait until the old servers have ended. The new start
// must wait.
func TestStartRightAfterAKill(t *testing.T) {
	t.Parallel()
	o := options(t)
	for round := 1; round <= 3; round++ {
		owner := startDaemon(t, o)
		write(t, owner.Database, owner.Redis)
		owner.kill()
		began := time.Now()
		s := start(t, o)
		t.Logf("ready %v after the kill", time.Since(began).Round(time.Millisecond))
		if s.PostgresProcess() == nil {
			t.Error("joined servers that were about to end")
		}
		wantMarks(t, s.DatabaseURL(), s.RedisURL(), round)
		closeServers(t, s)
	}
}

// TestEverythingKilled leaves PostgreSQL's pid file and all sockets behind.
func TestEverythingKilled(t *testing.T) {
	t.Parallel()
	o := options(t)
	owner := startDaemon(t, o)
	write(t, owner.Database, owner.Redis)
	for _, pid := range []int{owner.PostgresPID, owner.RedisPID} {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	owner.kill()
	if _, err := os.Stat(filepath.Join(o.DataDir, "postgres", "postmaster.pid")); err != nil {
		t.Errorf("the test proves nothing: %v", err)
	}
	s := start(t, o)
	wantMarks(t, s.DatabaseURL(), s.RedisURL(), 1)
}

// TestKilledDuringTheFirstStart interrupts the making of the data directory at many moments.
func TestKilledDuringTheFirstStart(t *testing.T) {
	t.Parallel()
	o := options(t)
	for moment := time.Duration(0); moment < 800*time.Millisecond; moment += 80 * time.Millisecond {
		d, _ := launch(t, o)
		time.Sleep(moment) // the moment is the point
		d.kill()
	}
	s := start(t, o)
	write(t, s.DatabaseURL(), s.RedisURL())
	wantMarks(t, s.DatabaseURL(), s.RedisURL(), 1)
}

// In TestOrphanIsStopped no signal tells the server that its owner died, as on systems that have no such
// signal.
func TestOrphanIsStopped(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Postgres = false
	s := start(t, o)
	write(t, "", s.RedisURL())
	published, err := os.ReadFile(filepath.Join(o.DataDir, "redis.json"))
	if err != nil {
		t.Fatal(err)
	}
	formerPID := s.RedisProcess().Pid
	closeServers(t, s)

	held, err := os.OpenFile(filepath.Join(o.DataDir, "redis.lock"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	// A process that another test is starting may share the former lock for a moment, until it runs its own program.
	servertest.Eventually(t, "the lock is free", func() bool {
		return syscall.Flock(int(held.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
	})
	dir := t.TempDir()
	orphan := exec.Command("redis-server", "--port", "0", "--unixsocket", filepath.Join(dir, "socket"), "--save", "", "--dir", dir)
	orphan.ExtraFiles = []*os.File{held}
	if err := orphan.Start(); err != nil {
		t.Fatal(err)
	}
	_ = held.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = orphan.Wait()
	}()
	text := strings.Replace(string(published), fmt.Sprintf(`"pid": %d`, formerPID), fmt.Sprintf(`"pid": %d`, orphan.Process.Pid), 1)
	if err := os.WriteFile(filepath.Join(o.DataDir, "redis.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}

	servertest.Eventually(t, "the orphan runs", func() bool { _, err := os.Stat(filepath.Join(dir, "socket")); return err == nil })
	again := start(t, o)
	wantMarks(t, "", again.RedisURL(), 1)
	if again.RedisProcess() == nil {
		t.Error("joined an orphan")
	}
	// The lock was free before the second start returned, so the orphan had been stopped by then.
	<-ended
}

// TestStalePidFiles puts process IDs into PostgreSQL's lock files that belong to no process, to a zombie or to
// another program by now.
func TestStalePidFiles(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Redis = false
	s := start(t, o)
	write(t, s.DatabaseURL(), "")
	alive := s.PostgresProcess().Pid
	pidFile := filepath.Join(o.DataDir, "postgres", "postmaster.pid")
	socketLock := filepath.Join(o.DataDir, "run", ".s.PGSQL.5432.lock")
	text, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	closeServers(t, s)

	zombie := exec.Command("true")
	if err := zombie.Start(); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "a process becomes a zombie", func() bool { return !runs(zombie.Process.Pid) })
	defer func() { _ = zombie.Wait() }()
	sleeper := exec.Command("sleep", "600")
	if os.Geteuid() == 0 {
		// PostgreSQL is deceived only by a process of its own user.
		info, err := os.Stat(filepath.Join(o.DataDir, "postgres"))
		if err != nil {
			t.Fatal(err)
		}
		stat, _ := info.Sys().(*syscall.Stat_t)
		sleeper.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stat.Uid, Gid: stat.Gid}}
	}
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sleeper.Process.Kill(); _ = sleeper.Wait() }()

	for name, pid := range map[string]int{"gone": alive, "zombie": zombie.Process.Pid, "another program": sleeper.Process.Pid} {
		_, rest, _ := strings.Cut(string(text), "\n")
		for _, path := range []string{pidFile, socketLock} {
			if err := os.WriteFile(path, fmt.Appendf(nil, "%d\n%s", pid, rest), 0o600); err != nil {
				t.Fatal(err)
			}
			if stat, ok := mustStat(t, filepath.Dir(path)).Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
				if err := os.Chown(path, int(stat.Uid), int(stat.Gid)); err != nil {
					t.Fatal(err)
				}
			}
		}
		s, err := embedded.Start(t.Context(), o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		wantMarks(t, s.DatabaseURL(), "", 1)
		closeServers(t, s)
	}
}

func mustStat(t *testing.T, path string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}
