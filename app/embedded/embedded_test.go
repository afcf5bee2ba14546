package embedded_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"outboxd/app/embedded"
	"outboxd/app/servertest"
)

// daemonVariable turns the test binary into a process that owns servers until its standard input ends.
const daemonVariable = "EMBEDDED_TEST_DAEMON"

func TestMain(m *testing.M) {
	if options := os.Getenv(daemonVariable); options != "" {
		os.Exit(runDaemon(options))
	}
	servertest.Main(m)
}

// report is what a daemon says of itself when its servers are ready.
type report struct {
	Database, Redis       string
	PostgresPID, RedisPID int
	UID                   int
	Error                 string
}

func runDaemon(text string) int {
	var o embedded.Options
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		fmt.Println(err)
		return 2
	}
	o.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	out := json.NewEncoder(os.Stdout)
	s, err := embedded.Start(context.Background(), o)
	if err != nil {
		_ = out.Encode(report{Error: err.Error()})
		return 1
	}
	r := report{Database: s.DatabaseURL(), Redis: s.RedisURL(), UID: os.Geteuid()}
	if p := s.PostgresProcess(); p != nil {
		r.PostgresPID = p.Pid
	}
	if p := s.RedisProcess(); p != nil {
		r.RedisPID = p.Pid
	}
	_ = out.Encode(r)
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := s.Close(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// daemon is another process that owns or has joined servers.
type daemon struct {
	report
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.Closer
	gone  bool
}

// launch starts a daemon and does not wait for its servers.
func launch(t *testing.T, o embedded.Options, change ...func(*exec.Cmd)) (*daemon, io.Reader) {
	t.Helper()
	o.Logger = nil
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), daemonVariable+"="+string(text))
	cmd.Stderr = t.Output()
	for _, c := range change {
		c(cmd)
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d := &daemon{t: t, cmd: cmd, stdin: stdin}
	t.Cleanup(func() {
		if !d.gone {
			d.quit()
		}
	})
	return d, stdout
}

// startDaemon starts a daemon and waits until its servers are ready.
func startDaemon(t *testing.T, o embedded.Options, change ...func(*exec.Cmd)) *daemon {
	t.Helper()
	d, stdout := launch(t, o, change...)
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("daemon says nothing: %v", err)
	}
	if err := json.Unmarshal([]byte(line), &d.report); err != nil {
		t.Fatalf("daemon says %q: %v", line, err)
	}
	return d
}

func (d *daemon) kill() {
	d.t.Helper()
	d.gone = true
	if err := d.cmd.Process.Kill(); err != nil {
		d.t.Fatal(err)
	}
	_ = d.cmd.Wait() // "signal: killed"
}

func (d *daemon) quit() {
	d.t.Helper()
	d.gone = true
	_ = d.stdin.Close()
	if err := d.cmd.Wait(); err != nil && d.Error == "" {
		d.t.Errorf("daemon: %v", err)
	}
}

// options returns options for both servers in a new place, without the cost of safety against power
// cuts.
func options(t *testing.T) embedded.Options {
	t.Helper()
	return embedded.Options{
		DataDir: filepath.Join(place(t), "data"), Postgres: true, Redis: true, Ephemeral: true,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

// place returns a temporary folder that the servers' user can reach, too.
func place(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

// start starts servers that the test's end closes.
func start(t *testing.T, o embedded.Options) *embedded.Servers {
	t.Helper()
	s, err := embedded.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeServers(t, s) })
	return s
}

func closeServers(t *testing.T, s *embedded.Servers) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

// write leaves one mark in each server whose URL is not empty; wantMarks counts the marks.
func write(t *testing.T, database, queue string) {
	t.Helper()
	if database != "" {
		conn := connect(t, database)
		for _, sql := range []string{`CREATE TABLE IF NOT EXISTS marks (at timestamptz DEFAULT now())`, `INSERT INTO marks DEFAULT VALUES`} {
			if _, err := conn.Exec(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
		}
	}
	if queue != "" {
		if err := client(t, queue).Incr(t.Context(), "marks").Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func wantMarks(t *testing.T, database, queue string, want int) {
	t.Helper()
	var got int
	if database != "" {
		if err := connect(t, database).QueryRow(t.Context(), `SELECT count(*) FROM marks`).Scan(&got); err != nil || got != want {
			t.Errorf("PostgreSQL has %d marks, want %d (%v)", got, want, err)
		}
	}
	if queue != "" {
		if got, err := client(t, queue).Get(t.Context(), "marks").Int(); err != nil || got != want {
			t.Errorf("Redis has %d marks, want %d (%v)", got, want, err)
		}
	}
}

func connect(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func client(t *testing.T, address string) redis.UniversalClient {
	t.Helper()
	option, err := asynq.ParseRedisURI(address)
	if err != nil {
		t.Fatal(err)
	}
	c, ok := option.MakeRedisClient().(redis.UniversalClient)
	if !ok {
		t.Fatal("no Redis client")
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// runs reports whether a process lives; one that waits to be reaped does not.
func runs(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := exec.Command("ps", "-o", "stat=", "-p", fmt.Sprint(pid)).Output()
	return err == nil && !strings.HasPrefix(strings.TrimSpace(string(stat)), "Z")
}

func TestDataSurviveARestart(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Ephemeral = false
	began := time.Now()
	s := start(t, o)
	t.Logf("first start, with a new data directory: ready after %v", time.Since(began).Round(time.Millisecond))
	write(t, s.DatabaseURL(), s.RedisURL())
	pids := []int{s.PostgresProcess().Pid, s.RedisProcess().Pid}
	began = time.Now()
	closeServers(t, s)
	t.Logf("stop: %v", time.Since(began).Round(time.Millisecond))
	for _, pid := range pids {
		if runs(pid) {
			t.Errorf("process %d still runs after Close", pid)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(o.DataDir, "run", "*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	began = time.Now()
	again := start(t, o)
	t.Logf("second start: ready after %v", time.Since(began).Round(time.Millisecond))
	wantMarks(t, again.DatabaseURL(), again.RedisURL(), 1)
	if s.DatabaseURL() != again.DatabaseURL() || s.RedisURL() != again.RedisURL() {
		t.Error("the addresses changed")
	}
	closeServers(t, again)
	closeServers(t, again)
}

func TestServersArePrivate(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Ephemeral = false
	s := start(t, o)
	var listens, permissions, connections string
	err := connect(t, s.DatabaseURL()).QueryRow(t.Context(), `SELECT current_setting('listen_addresses'), current_setting('unix_socket_permissions'),
		current_setting('max_connections')`).Scan(&listens, &permissions, &connections)
	if err != nil || listens != "" || permissions != "0700" || connections != "200" {
		t.Errorf("PostgreSQL listens on %q, its socket has mode %s, it takes %s connections (%v)", listens, permissions, connections, err)
	}
	for setting, want := range map[string]string{"port": "0", "appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"} {
		if got := client(t, s.RedisURL()).ConfigGet(t.Context(), setting).Val()[setting]; got != want {
			t.Errorf("Redis's %s is %q, want %q", setting, got, want)
		}
	}
	mode := os.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o711
	}
	for name, want := range map[string]os.FileMode{"": mode, "run": 0o700, "postgres": 0o700, "redis": 0o700, "postgres.json": 0o600, "redis.log": 0o600} {
		info, err := os.Stat(filepath.Join(o.DataDir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%q: %v, want mode %v (%v)", name, info, want, err)
		}
	}
	// Ctrl-C goes to the group of the terminal's foreground process.
	for _, p := range []*os.Process{s.PostgresProcess(), s.RedisProcess()} {
		if group, err := syscall.Getpgid(p.Pid); err != nil || group == syscall.Getpgrp() {
			t.Errorf("process %d is in group %d, this one in %d (%v)", p.Pid, group, syscall.Getpgrp(), err)
		}
	}
}

func TestAwkwardPaths(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{
		"quotes": `it's "my" \ data`,
		"comma":  "one,two",
		"long":   strings.Repeat("long/", 20) + "data",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			o.DataDir = filepath.Join(filepath.Dir(o.DataDir), path)
			s := start(t, o)
			write(t, s.DatabaseURL(), s.RedisURL())
			closeServers(t, s)
			again := start(t, o)
			wantMarks(t, again.DatabaseURL(), again.RedisURL(), 1)
			if s.DatabaseURL() != again.DatabaseURL() {
				t.Errorf("the address changed from %s to %s", s.DatabaseURL(), again.DatabaseURL())
			}
			joined := start(t, o)
			wantMarks(t, joined.DatabaseURL(), joined.RedisURL(), 1)
			sockets := connect(t, again.DatabaseURL()).Config().Host
			if info, err := os.Stat(sockets); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("folder of the sockets: %v, %v", info, err)
			}
			if !strings.HasPrefix(sockets, o.DataDir) {
				t.Cleanup(func() { _ = os.RemoveAll(sockets) })
			}
		})
	}
}

func TestDeathOfAServerIsReported(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"PostgreSQL", "Redis"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			o.Postgres, o.Redis = name == "PostgreSQL", name == "Redis"
			s := start(t, o)
			write(t, s.DatabaseURL(), s.RedisURL())
			if err := cmp.Or(s.PostgresProcess(), s.RedisProcess()).Kill(); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-s.Failed():
				if !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "killed") {
					t.Errorf("reported: %v", err)
				}
			case <-time.After(servertest.Patience):
				t.Fatal("nothing reported")
			}
			closeServers(t, s)
			again := start(t, o)
			wantMarks(t, again.DatabaseURL(), again.RedisURL(), 1)
		})
	}
}

func TestCloseWithoutTime(t *testing.T) {
	t.Parallel()
	o := options(t)
	s, err := embedded.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	write(t, s.DatabaseURL(), s.RedisURL())
	pid := s.PostgresProcess().Pid
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	first := s.Close(ctx) // whether it returns an error depends on how soon the servers end
	if runs(pid) {
		t.Error("PostgreSQL runs after Close")
	}
	if again := s.Close(t.Context()); again != first { //nolint:errorlint // the same one
		t.Errorf("a second Close says %v, the first %v", again, first)
	}
	again := start(t, o)
	wantMarks(t, again.DatabaseURL(), again.RedisURL(), 1)
}

func TestStartGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	o := options(t)
	for _, patience := range []time.Duration{0, 20 * time.Millisecond, 200 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		s, err := embedded.Start(ctx, o)
		cancel()
		if err == nil {
			closeServers(t, s)
		}
		t.Logf("after %v: %v", patience, err)
	}
	s := start(t, o)
	write(t, s.DatabaseURL(), s.RedisURL())
}
