package outboxtest

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// The time limits for starting and for stopping outboxd.
const (
	startLimit = 60 * time.Second
	stopLimit  = 15 * time.Second
)

// process is outboxd as a child process.
type process struct {
	command *exec.Cmd
	log     transcript
	begun   chan error
	ended   chan struct{}
}

func launch(t testing.TB, binary string, args []string) *process {
	t.Helper()
	p := &process{command: exec.Command(binary, args...), begun: make(chan error, 1), ended: make(chan struct{})}
	p.command.Env, p.command.Dir, p.command.Stderr = environ(), os.TempDir(), &p.log
	endWithParent(p.command)
	go func() {
		defer close(p.ended)
		// On Linux the child ends when the thread that started it ends, so keep
		// this thread until the child has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.command.Start()
		p.begun <- err
		if err == nil {
			_ = p.command.Wait() // the log says why outboxd ended
		}
	}()
	if err := <-p.begun; err != nil {
		t.Fatalf("start %s: %v", binary, err)
	}
	t.Cleanup(func() { p.stop(t) })
	return p
}

func (p *process) stop(t testing.TB) {
	t.Helper()
	_ = p.command.Process.Signal(os.Interrupt)
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	select {
	case <-p.ended:
	case <-limit.C:
		t.Errorf("outboxd did not end within %v", stopLimit)
		_ = p.command.Process.Kill()
		<-p.ended
	}
	if t.Failed() {
		t.Logf("the end of outboxd's log:\n%s", p.log.end())
	}
}

type ready struct{ Msg, Monitor string }

func (p *process) awaitReady(t testing.TB) ready {
	t.Helper()
	limit, look := time.NewTimer(startLimit), time.NewTicker(5*time.Millisecond)
	defer limit.Stop()
	defer look.Stop()
	for {
		if r, is := p.log.ready(); is {
			return r
		}
		select {
		case <-look.C:
		case <-p.ended:
			t.Fatalf("outboxd ended before it was ready:\n%s", p.log.end())
		case <-limit.C:
			t.Fatalf("outboxd was not ready within %v:\n%s", startLimit, p.log.end())
		}
	}
}

// transcript receives outboxd's log. It is safe for concurrent use.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (l *transcript) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *transcript) ready() (r ready, is bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, `"msg":"ready"`) && json.Unmarshal([]byte(line), &r) == nil && r.Msg == "ready" {
			return r, true
		}
	}
	return ready{}, false
}

func (l *transcript) end() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	const most = 8000
	text := l.text.String()
	return text[max(0, len(text)-most):]
}
