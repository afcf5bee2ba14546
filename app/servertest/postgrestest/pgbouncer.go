package postgrestest

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"outboxd/app/child"
	"outboxd/app/servertest"
)

// pgbouncerPrograms are names of the program: one to look up in PATH, and paths
// that are often not in PATH.
var pgbouncerPrograms = []string{"pgbouncer", "/usr/sbin/pgbouncer", "/opt/homebrew/bin/pgbouncer", "/usr/local/bin/pgbouncer"}

const pgbouncerConfig = `[databases]
* = host=%s port=5432 user=%s connect_query='SET statement_timeout = 0'
[pgbouncer]
pool_mode = %s
auth_type = any
listen_port = 5432
unix_socket_dir = %s
default_pool_size = %d
; Under load a login may exceed the timeouts of its role. By default PgBouncer tries again after 15 s.
server_login_retry = 0.1
`

// PgBouncer starts a PgBouncer in transaction mode in front of a database and returns its URL.
// upstream is a URL of servertest.Database, or of a Server. PgBouncer is stopped at the end of the test.
func PgBouncer(t testing.TB, upstream string) string {
	t.Helper()
	return StartPgBouncer(t, upstream, "transaction").URL()
}

// PgBouncerProgram is a PgBouncer for one test, which can be killed and started again. A method of PgBouncerProgram
// that cannot do its work fails the test.
type PgBouncerProgram struct {
	t       testing.TB
	account *syscall.Credential
	folder  string
	url     string
	process *child.Process // nil while killed
}

// StartPgBouncer is like the function PgBouncer, but in a mode, "transaction" or "session", that the caller chooses.
func StartPgBouncer(t testing.TB, upstream, mode string) *PgBouncerProgram {
	t.Helper()
	u := servertest.Parse(t, upstream)
	query := u.Query()
	sockets := query.Get("host")
	role := u.User.Username()
	if role == "" {
		role = "outboxd"
	}
	sessions := 8
	if mode == "session" { // each client keeps one
		sessions = 32
	}
	p := &PgBouncerProgram{t: t, account: accountOf(t, sockets), folder: servertest.Folder(t)}
	if err := os.Mkdir(p.folder, 0o755); err != nil { // another account must enter
		t.Fatalf("make folder for PgBouncer: %v", err)
	}
	if err := os.WriteFile(p.file("ini"), fmt.Appendf(nil, pgbouncerConfig, sockets, role, mode, p.folder, sessions), 0o644); err != nil { // as above
		t.Fatalf("configure PgBouncer: %v", err)
	}
	if p.account != nil {
		if err := os.Chown(p.folder, int(p.account.Uid), int(p.account.Gid)); err != nil {
			t.Fatalf("give PgBouncer its folder: %v", err)
		}
	}
	// Leave out the URL's startup parameters, such as the search path, because
	// PgBouncer refuses them.
	u.RawQuery = url.Values{"host": {p.folder}, "port": {"5432"}, "sslmode": {"disable"}}.Encode()
	p.url = u.String()
	t.Cleanup(p.Kill)
	p.Start()
	return p
}

func (p *PgBouncerProgram) file(ending string) string {
	return filepath.Join(p.folder, "pgbouncer."+ending)
}

// URL returns PgBouncer's URL, which never changes.
func (p *PgBouncerProgram) URL() string { return p.url }

// Start starts PgBouncer again after Kill, and returns when PgBouncer lets a client in.
func (p *PgBouncerProgram) Start() {
	p.t.Helper()
	output, err := os.Create(p.file("log"))
	if err != nil {
		p.t.Fatalf("make PgBouncer's log: %v", err)
	}
	defer func() { _ = output.Close() }()
	cmd := exec.Command(pgbouncerProgram(p.t), p.file("ini"))
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.account}
	if p.process, err = child.Start(cmd, syscall.SIGKILL); err != nil {
		p.t.Fatalf("start PgBouncer: %v", err)
	}
	await(p.t, "PgBouncer", p.process, p.url, output.Name())
}

// Kill ends PgBouncer by SIGKILL, with all connections through it, and returns when its process is gone.
func (p *PgBouncerProgram) Kill() {
	if p.process == nil {
		return
	}
	_ = p.process.Signal(syscall.SIGKILL)
	<-p.process.Done()
	p.process = nil
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
