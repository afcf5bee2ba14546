package env

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Process is a running outboxd.
type Process struct {
	cancel  context.CancelFunc
	log     *daemonLog
	ended   chan error // receives the error with which it ended
	folder  string     // its data directory
	monitor string     // URL
}

// StartProcess starts outboxd with roles on a database address and returns when it is
// ready. StartProcess fails if that takes longer than a minute.
func (e *Env) StartProcess(ctx context.Context, address, roles string) (_ *Process, err error) {
	p := &Process{log: newDaemonLog(), ended: make(chan error, 1)}
	if p.folder, err = os.MkdirTemp("", "outboxd-bench-"); err != nil {
		return nil, fmt.Errorf("make a data directory: %w", err)
	}
	running, cancel := context.WithCancel(ctx)
	p.cancel = cancel
	if err := e.launch(running, p, address, roles); err != nil {
		cancel()
		return nil, errors.Join(err, os.RemoveAll(p.folder))
	}
	const patience = time.Minute
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case p.monitor = <-p.log.ready:
		return p, nil
	case err = <-p.ended:
		p.ended <- err // for Stop
		err = fmt.Errorf("outboxd ended before it was ready: %w\n%s", orEarly(err), p.log.tail())
	case <-limit.C:
		err = fmt.Errorf("outboxd is not ready after %v\n%s", patience, p.log.tail())
	case <-ctx.Done():
		err = ctx.Err()
	}
	_ = p.Stop() // the first error says more
	return nil, err
}

func (e *Env) launch(ctx context.Context, p *Process, address, roles string) error {
	w := e.Config.Worker
	cmd, err := e.Command(ctx,
		"--roles="+roles, "--api-addr=127.0.0.1:0", "--monitor-addr=127.0.0.1:0", "--notify=log", "--data-dir="+p.folder, "--log-level=info",
		"--worker-concurrency="+strconv.Itoa(w.Concurrency), "--worker-poll-interval="+w.PollInterval.String(), "--worker-queues="+w.Queues.String(),
	)
	if err != nil {
		return err
	}
	cmd.Env = append(cmd.Env, "OUTBOXD_DATABASE_URL="+address) // the last entry counts
	cmd.Stderr = p.log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start outboxd: %w", err)
	}
	go func() { p.ended <- cmd.Wait() }()
	return nil
}

// Watch returns after d. If the process or ctx ends before that, Watch returns an error.
func (p *Process) Watch(ctx context.Context, d time.Duration, progress *Progress) error {
	end := time.NewTimer(d)
	defer end.Stop()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-end.C:
			return nil
		case <-second.C:
			progress.Add(1)
		case err := <-p.ended:
			p.ended <- err
			return fmt.Errorf("outboxd ended while it was watched: %w\n%s", orEarly(err), p.log.tail())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

var errEarly = errors.New("it ended without an error")

func orEarly(err error) error {
	if err == nil {
		return errEarly
	}
	return err
}

// Stop asks the process to drain, and waits for it.
func (p *Process) Stop() error {
	p.cancel()
	err := <-p.ended
	var exit *exec.ExitError
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &exit) && !exit.Exited() {
		err = nil // it was asked to end
	}
	if err != nil {
		err = fmt.Errorf("outboxd did not end in order: %w\n%s", err, p.log.tail())
	}
	return errors.Join(err, os.RemoveAll(p.folder))
}

// Metrics reads the metrics of the process. The key of each value is the metric's
// name with its labels.
func (p *Process) Metrics(ctx context.Context) (map[string]float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.monitor+"/metrics", http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("ask outboxd for its metrics: %w", err)
	}
	// Close the connection after each request: a connection that stays open would
	// add to the measured cost of the process.
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask outboxd for its metrics: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask outboxd for its metrics: %s", response.Status)
	}
	return parseMetrics(response.Body)
}

func parseMetrics(r io.Reader) (map[string]float64, error) {
	metrics := map[string]float64{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, text, _ := strings.Cut(lines.Text(), " ")
		if value, err := strconv.ParseFloat(text, 64); err == nil {
			metrics[name] = value
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read outboxd's metrics: %w", err)
	}
	return metrics, nil
}

// daemonLog keeps the end of the process's JSON log, and recognises the line that
// says that the process is ready.
type daemonLog struct {
	ready chan string // the monitor's URL

	mu   sync.Mutex
	line bytes.Buffer // unfinished
	text []byte
}

const tailBytes = 4000

func newDaemonLog() *daemonLog { return &daemonLog{ready: make(chan string, 1)} }

// Write implements io.Writer.
func (l *daemonLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	l.text = l.text[max(0, len(l.text)-tailBytes):]
	l.line.Write(p)
	for {
		end := bytes.IndexByte(l.line.Bytes(), '\n')
		if end < 0 {
			return len(p), nil
		}
		l.look(l.line.Next(end + 1))
	}
}

func (l *daemonLog) look(line []byte) {
	var said struct{ Msg, Monitor string }
	if json.Unmarshal(line, &said) != nil || said.Msg != "ready" {
		return
	}
	select {
	case l.ready <- said.Monitor:
	default:
	}
}

func (l *daemonLog) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}
