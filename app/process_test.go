package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"outboxd/app/child"
	"outboxd/app/servertest"
)

// patience bounds every wait for something that happens soon unless it never does.
const patience = servertest.Patience

// process is a running outboxd.
type process struct {
	t     testing.TB
	cmd   *exec.Cmd
	stdin io.Closer
	log   *transcript
	ended <-chan struct{}

	api, monitor string // URLs, from awaitReady on; "" if it does not listen
}

// command returns a command that runs outboxd with these arguments. Variables that configure outboxd or name
// servers are left out of its environment.
func command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Dir = t.TempDir()
	// By default the race detector sleeps for a second at every exit.
	cmd.Env = append(servertest.Environ(), processVariable+"=1", "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	return cmd
}

// launch starts outboxd on free ports. It is killed at the end of the test if it still runs.
func launch(t testing.TB, args ...string) *process {
	t.Helper()
	return launchWith(t, nil, args...)
}

// launchWith is launch with more variables.
func launchWith(t testing.TB, environ []string, args ...string) *process {
	t.Helper()
	p := prepare(t, environ, args...)
	p.cmd.Stderr = p.log
	p.run()
	return p
}

// prepare returns a process that has not started yet.
func prepare(t testing.TB, environ []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, log: &transcript{}}
	p.cmd = command(t, append([]string{"--api-addr=127.0.0.1:0", "--monitor-addr=127.0.0.1:0", "--api-rate-limit=0"}, args...)...)
	p.cmd.Env = append(p.cmd.Env, environ...)
	return p
}

// keepOpen keeps the standard input of a command open until the test ends, because this test's own program ends
// when its standard input is closed.
func keepOpen(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stdin.Close() })
}

func (p *process) run() {
	p.t.Helper()
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	p.stdin = stdin
	running, err := child.Start(p.cmd, syscall.SIGKILL) // so that no program outlives a test that is killed
	if err != nil {
		p.t.Fatal(err)
	}
	p.ended = running.Done()
	p.t.Cleanup(p.cleanup)
}

func (p *process) cleanup() {
	if !p.over() {
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
	log := p.log.String()
	if strings.Contains(log, "DATA RACE") || strings.Contains(log, "goroutine ") && strings.Contains(log, "panic") {
		p.t.Error("the log has a race or a panic")
	}
	if p.t.Failed() {
		const end = 8000
		p.t.Logf("%s\nlogged:\n%s", strings.Join(p.cmd.Args[1:], " "), log[max(0, len(log)-end):])
	}
}

// start starts outboxd and waits until it is ready.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := launch(t, args...)
	p.awaitReady()
	return p
}

func (p *process) awaitReady() {
	p.t.Helper()
	ready := p.awaitLog("ready")
	p.api, _ = ready["api"].(string)
	p.monitor, _ = ready["monitor"].(string)
}

// awaitLog waits for a message in the log and returns its line.
func (p *process) awaitLog(message string) (line map[string]any) {
	p.t.Helper()
	eventually(p.t, "outboxd logs "+message, func() bool {
		over := p.over()
		if line = p.log.find(message); line == nil && over {
			p.t.Fatalf("outboxd ended before it logged %q", message)
		}
		return line != nil
	})
	return line
}

func (p *process) over() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

func (p *process) signal(signal syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.t.Fatal(err)
	}
}

// wait waits until outboxd has ended. It returns how outboxd ended, and how long that took from the call on.
func (p *process) wait() (state *os.ProcessState, took time.Duration) {
	p.t.Helper()
	begun := time.Now()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatal("outboxd does not end")
	}
	return p.cmd.ProcessState, time.Since(begun)
}

// stop asks outboxd to end, which it must do in order.
func (p *process) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if state, _ := p.wait(); state.ExitCode() != 0 {
		p.t.Errorf("after SIGTERM: %v, want exit code 0", state)
	}
}

// kill kills outboxd with the signal SIGKILL.
func (p *process) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	p.wait()
}

// result is the outcome of a command that ended by itself.
type result struct {
	stdout, stderr string
	code           int
}

// message returns what outboxd wrote to standard error, without its log.
func (r result) message() string {
	var lines []string
	for line := range strings.Lines(r.stderr) {
		if !strings.HasPrefix(line, "{") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// wants fails the test unless the command ended with a code and wrote all texts, to
// either stream.
func (r result) wants(t *testing.T, code int, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(r.stdout+r.stderr, text) {
			t.Errorf("%q is not in\n%s%s", text, r.stdout, r.stderr)
		}
	}
	if r.code != code {
		t.Errorf("code %d, want %d: %s%s", r.code, code, r.stdout, r.stderr)
	}
}

// writeFile writes a file in a folder of its own and returns its path.
func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// execute runs a command to its end, with these variables.
func execute(t *testing.T, environ []string, args ...string) result {
	t.Helper()
	cmd := command(t, args...)
	cmd.Env = append(cmd.Env, environ...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = stdin.Close() })()
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || cmd.ProcessState.ExitCode() == exitOrphaned {
		t.Fatalf("%v: %v\n%s", args, err, stderr.String())
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// transcript keeps a log that is still being written.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *transcript) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// find returns the first line with a message that begins so; nil if there is none.
func (s *transcript) find(message string) map[string]any {
	for text := range strings.Lines(s.String()) {
		var line map[string]any
		if json.Unmarshal([]byte(text), &line) != nil {
			continue
		}
		if said, ok := line["msg"].(string); ok && strings.HasPrefix(said, message) {
			return line
		}
	}
	return nil
}

// eventually waits until a condition holds, and fails the test if it never does.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	within(t, patience, what, condition)
}

func within(t testing.TB, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	if !servertest.Within(limit, condition) {
		t.Fatalf("waited %v in vain: %s", limit, what)
	}
}
