package embedded_test

import (
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"outboxd/app/embedded"
	"outboxd/app/embedded/keeper"
)

// TestRoot starts the servers as root and checks that they run under another
// account.
func TestRoot(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can run as root; all other tests here run as an ordinary user now")
	}
	s := start(t, options(t))
	for _, p := range []*os.Process{s.PostgresProcess(), s.RedisProcess()} {
		if info := mustStat(t, "/proc/"+strconv.Itoa(p.Pid)); info.Sys().(*syscall.Stat_t).Uid == 0 { //nolint:forcetypeassert // Linux
			t.Errorf("process %d runs as root", p.Pid)
		}
	}
}

// TestOrdinaryUser runs another process as user nobody, and lets root come to the same data afterwards.
func TestOrdinaryUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can become somebody else; all other tests here run as an ordinary user now")
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	gid, _ := strconv.Atoi(nobody.Gid)
	home := place(t)
	if err := os.Chown(home, uid, gid); err != nil {
		t.Fatal(err)
	}
	o := options(t)
	o.DataDir = filepath.Join(home, "data")
	asNobody := func(cmd *exec.Cmd) {
		cmd.Path = copyOfThisBinary(t, home) // go test builds it where nobody else can go
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
	first := startDaemon(t, o, asNobody)
	if first.Error != "" || first.UID != uid {
		t.Fatalf("user %d, want %d: %s", first.UID, uid, first.Error)
	}
	write(t, first.Database, first.Redis)
	first.kill()
	second := startDaemon(t, o, asNobody)
	wantMarks(t, second.Database, second.Redis, 1)

	joined := start(t, o) // as root
	if joined.PostgresProcess() != nil {
		t.Error("root did not join")
	}
	closeServers(t, joined)
	second.quit()
	owner := start(t, o) // as root, on another user's data
	wantMarks(t, owner.DatabaseURL(), owner.RedisURL(), 1)
	closeServers(t, owner)
	third := startDaemon(t, o, asNobody)
	if third.Error != "" {
		t.Fatalf("the user cannot come back after root: %s", third.Error)
	}
	wantMarks(t, third.Database, third.Redis, 1)
}

// TestClosedParent has a data directory that the servers' user cannot reach.
func TestClosedParent(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("an ordinary user's servers run as that user, so the question does not arise")
	}
	closed := filepath.Join(place(t), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	o := options(t)
	o.DataDir = filepath.Join(closed, "data")
	s, err := embedded.Start(t.Context(), o)
	if err == nil {
		closeServers(t, s)
		t.Fatal("started in a folder that the servers' user cannot reach")
	}
	if !strings.Contains(err.Error(), "cannot pass through "+closed+" ") {
		t.Errorf("the error does not name the folder: %v", err)
	}
	// A folder that already has files in it is not opened to other users.
	if err := os.WriteFile(filepath.Join(closed, "diary"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o.DataDir = closed
	if s, err = embedded.Start(t.Context(), o); err == nil {
		closeServers(t, s)
		t.Fatal("opened somebody's folder")
	}
	if !strings.Contains(err.Error(), "chmod 711") || mustStat(t, closed).Mode().Perm() != 0o700 {
		t.Errorf("the folder has mode %v now: %v", mustStat(t, closed).Mode(), err)
	}
}

func TestDefaultDataDir(t *testing.T) {
	dir, err := keeper.DefaultDataDir()
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if dir != "/var/lib/outboxd" {
			t.Errorf("root's data are in %s", dir)
		}
		return
	}
	t.Setenv("XDG_DATA_HOME", "/somewhere")
	if dir, err = keeper.DefaultDataDir(); err != nil || dir != "/somewhere/outboxd" {
		t.Errorf("with XDG_DATA_HOME: %s, %v", dir, err)
	}
}

func copyOfThisBinary(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "daemon")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	from, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = from.Close() }()
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}
