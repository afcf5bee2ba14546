package servertest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/app/child"
)

// pgbouncerPrograms are names of the program: one to look up in PATH, and paths
// that are often not in PATH.
var pgbouncerPrograms = []string{"pgbouncer", "/usr/sbin/pgbouncer", "/opt/homebrew/bin/pgbouncer", "/usr/local/bin/pgbouncer"}

const pgbouncerConfig = `[databases]
* = host=%s port=5432 user=%s connect_query='SET statement_timeout = 0'
[pgbouncer]
pool_mode = transaction
auth_type = any
listen_port = 5432
unix_socket_dir = %s
default_pool_size = 8
; A role's timeouts hit a login under load. The pause after one that failed is 15 s.
server_login_retry = 0.1
`

// PgBouncer starts a PgBouncer in transaction mode in front of a database and returns its URL.
// upstream is a URL of Database or OwnPostgres. PgBouncer is stopped at the end of the test.
func PgBouncer(t testing.TB, upstream string) string {
	t.Helper()
	if binary == nil {
		t.Fatal("servertest.Main must be called from TestMain")
	}
	u := parse(t, upstream)
	query := u.Query()
	sockets := query.Get("host")
	role := u.User.Username()
	if role == "" {
		role = "outboxd"
	}
	folder := binary.home.folder()
	if err := os.Mkdir(folder, 0o755); err != nil { // another account must enter
		t.Fatalf("make folder for PgBouncer: %v", err)
	}
	configuration, log := filepath.Join(folder, "pgbouncer.ini"), filepath.Join(folder, "pgbouncer.log")
	if err := os.WriteFile(configuration, fmt.Appendf(nil, pgbouncerConfig, sockets, role, folder), 0o644); err != nil { // as above
		t.Fatalf("configure PgBouncer: %v", err)
	}
	output, err := os.Create(log)
	if err != nil {
		t.Fatalf("make PgBouncer's log: %v", err)
	}
	defer func() { _ = output.Close() }()
	cmd := exec.Command(pgbouncerProgram(t), configuration)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: accountOf(t, sockets)}
	if owner := cmd.SysProcAttr.Credential; owner != nil {
		if err := os.Chown(folder, int(owner.Uid), int(owner.Gid)); err != nil {
			t.Fatalf("give PgBouncer its folder: %v", err)
		}
	}
	process, err := child.Start(cmd, syscall.SIGKILL)
	if err != nil {
		t.Fatalf("start PgBouncer: %v", err)
	}
	t.Cleanup(func() {
		_ = process.Signal(syscall.SIGKILL)
		<-process.Done()
	})
	// Leave out the URL's startup parameters, such as the search path, because
	// PgBouncer refuses them.
	u.RawQuery = url.Values{"host": {folder}, "port": {"5432"}, "sslmode": {"disable"}}.Encode()
	awaitPgBouncer(t, process, u.String(), log)
	return u.String()
}

func awaitPgBouncer(t testing.TB, process *child.Process, address, log string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), stopLimit)
	defer cancel()
	retry := time.NewTicker(10 * time.Millisecond)
	defer retry.Stop()
	for {
		conn, err := pgx.Connect(ctx, address)
		if err == nil {
			_ = conn.Close(ctx)
			return
		}
		select {
		case <-retry.C:
			continue
		case <-process.Done():
		case <-ctx.Done():
		}
		said, _ := os.ReadFile(log)
		t.Fatalf("start PgBouncer: %v; it says:\n%s", err, said)
	}
}

func pgbouncerProgram(t testing.TB) string {
	t.Helper()
	for _, name := range pgbouncerPrograms {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatalf("no PgBouncer is installed (looked for %s): run .ci/setup pgbouncer", strings.Join(pgbouncerPrograms, ", "))
	return ""
}

// accountOf returns the owner of a file; nil if that is the user of this
// process.
func accountOf(t testing.TB, path string) *syscall.Credential {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatalf("find a test server's account: %v", err)
	}
	owner, known := info.Sys().(*syscall.Stat_t)
	if !known || int(owner.Uid) == os.Geteuid() {
		return nil
	}
	return &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}
}
