package app_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
)

// systemd's SendSIGHUP sends SIGHUP after SIGTERM. A closed terminal sends it twice,
// through the kernel and through the shell. The task in hand is finished in each
// case.
func TestAHangUpDrains(t *testing.T) {
	t.Parallel()
	for _, first := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP} {
		t.Run("behind "+first.String(), func(t *testing.T) {
			t.Parallel()
			r, p, id := startWithATask(t)
			p.signal(first)
			p.awaitLog("draining")
			p.signal(syscall.SIGHUP)
			eventually(t, "the API takes no more requests", func() bool { status, _ := get(t, p.api+usersPath+"/"+id); return status == 0 })
			if status, _ := get(t, p.monitor+"/healthz"); status != http.StatusOK {
				t.Errorf("/healthz says %d while it drains", status)
			}
			close(r.release)
			if state, _ := p.wait(); state.ExitCode() != 0 || p.log.find("drained") == nil {
				t.Errorf("ended with %v, want exit code 0 after draining", state)
			}
		})
	}
}

func TestASecondSignalBehindAHangUpEndsAtOnce(t *testing.T) {
	t.Parallel()
	r, p, _ := startWithATask(t)
	defer close(r.release)
	p.signal(syscall.SIGHUP)
	p.awaitLog("draining")
	p.signal(syscall.SIGTERM)
	state, _ := p.wait()
	if status, _ := state.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGTERM {
		t.Errorf("ended with %v, want an end by SIGTERM", state)
	}
}

// startWithATask starts outboxd and has it run a task that does not end before the receiver is released.
func startWithATask(t *testing.T) (r *receiver, p *process, id string) {
	t.Helper()
	r = startReceiver(t)
	p = start(t, append(on(schematest.Database(t), servertest.Redis(t), t.TempDir()), append(r.flags(), "--shutdown-timeout=5m")...)...)
	id = register(t, p.api, "ada@example.com")
	r.awaitCall(t)
	return r, p, id
}

func TestUnderNohupAHangUpIsIgnored(t *testing.T) {
	t.Parallel()
	p := prepare(t, nil, on(schematest.Database(t), servertest.Redis(t), t.TempDir())...)
	p.cmd.Args = append([]string{"sh", "-c", `trap "" HUP; exec "$0" "$@"`, p.cmd.Path}, p.cmd.Args[1:]...)
	p.cmd.Path = "/bin/sh"
	p.cmd.Stderr = p.log
	p.run()
	p.awaitReady()
	p.signal(syscall.SIGHUP)
	awaitSent(t, p.api, register(t, p.api, "ada@example.com"))
	if p.log.find("draining") != nil {
		t.Error("it drains")
	}
	p.stop()
}

// startPiped starts outboxd with its log in a pipe. The test holds both ends of the
// pipe.
func startPiped(t *testing.T) (p *process, reader, writer *os.File) {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = reader.Close(), writer.Close() })
	p = prepare(t, nil, append(on(schematest.Database(t), servertest.Redis(t), t.TempDir()), "--notify=log")...)
	p.cmd.Stderr = writer
	p.run()
	for one := make([]byte, 1); p.log.find("ready") == nil; {
		if _, err := reader.Read(one); err != nil {
			t.Fatal(err)
		}
		_, _ = p.log.Write(one)
	}
	p.awaitReady()
	return p, reader, writer
}

// The reader of the log has ended: a collector restarts, or a user left the pager.
func TestTheLogsReaderEnds(t *testing.T) {
	t.Parallel()
	p, reader, writer := startPiped(t)
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	for _, email := range []string{"ada@example.com", "bob@example.com"} {
		awaitSent(t, p.api, register(t, p.api, email)) // which the log shows
	}
	p.stop()
}

// The log's reader reads no more. A full pipe blocks every write.
func TestTheLogIsNotRead(t *testing.T) {
	t.Parallel()
	p, reader, writer := startPiped(t)
	const filling = 1 << 20 // more than a pipe holds
	filled := make(chan error, 1)
	go func() {
		_, err := writer.Write(bytes.Repeat([]byte("\n"), filling))
		filled <- err
	}()
	for _, email := range []string{"ada@example.com", "bob@example.com", "cleo@example.com"} {
		awaitSent(t, p.api, register(t, p.api, email))
	}
	go func() { _, _ = io.Copy(p.log, reader) }()
	if err := <-filled; err != nil {
		t.Fatal(err)
	}
	awaitSent(t, p.api, register(t, p.api, "dora@example.com"))
	p.awaitLog("the log could not be written")
	if !strings.Contains(p.log.String(), "dora@example.com") {
		t.Error("the log does not go on")
	}
	p.stop()
}

// The log's reader reads no more, and the process is asked to end.
func TestDrainingWithoutALog(t *testing.T) {
	t.Parallel()
	p, _, writer := startPiped(t)
	go func() { _, _ = writer.Write(bytes.Repeat([]byte("\n"), 1<<20)) }()
	awaitSent(t, p.api, register(t, p.api, "ada@example.com"))
	p.stop()
}
