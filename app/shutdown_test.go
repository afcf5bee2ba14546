package app_test

import (
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
)

func TestTerminatedUnderLoad(t *testing.T) {
	t.Parallel()
	const burst = 200
	databaseURL, redisURL, dataDir := schematest.Database(t), servertest.Redis(t), t.TempDir()
	p := start(t, on(databaseURL, redisURL, dataDir)...)
	books := openLedger(t, databaseURL)
	l := startLoad(t, p.api, 4)
	l.await(15)
	books.produce(burst)
	books.awaitSent(20)
	p.signal(syscall.SIGTERM)
	state, took := p.wait()
	registered := l.finish()
	b := books.read()
	t.Logf("drained in %v: %+v", took.Round(time.Millisecond), b)
	if state.ExitCode() != 0 {
		t.Errorf("ended with %v, want exit code 0", state)
	}
	if p.log.find("drained") == nil {
		t.Error("it did not say that it had drained")
	}
	// Exactly the users who got an answer are registered: requests in flight were
	// finished.
	if missing := len(registered) - books.known(registered); missing != 0 || b.Users < len(registered)+burst || b.Users > len(registered)+burst+l.refused {
		t.Errorf("%d were told that they are registered, of whom %d are not; %d users came by SQL, and the books say %+v", len(registered), missing, burst, b)
	}
	// Each user has one event, pending or delivered. No task was cut between its effect and its end.
	if b.Pending+b.Delivered != b.Users || b.Users != b.Notifications || b.Sent != b.Inbox || b.Charged != 0 {
		t.Errorf("after draining the books say %+v", b)
	}

	p = start(t, on(databaseURL, redisURL, dataDir)...)
	b = books.await(registered)
	if mails, repeats := countMails(t, dataDir); mails != b.Users || repeats != 0 {
		t.Errorf("%d mails and %d repeats for %d users: nothing had crashed", mails, repeats, b.Users)
	}
	p.stop()
}

// receiver is a webhook's receiver that keeps its callers waiting until it is released, and then accepts.
type receiver struct {
	*httptest.Server
	called  chan struct{} // one for each call
	release chan struct{}
}

func startReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{called: make(chan struct{}, 100), release: make(chan struct{})}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		r.called <- struct{}{}
		select {
		case <-r.release:
			w.WriteHeader(http.StatusNoContent)
		case <-request.Context().Done():
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) flags() []string {
	return []string{
		"--notify=webhook", "--webhook-url=" + r.URL, "--webhook-timeout=5m",
		"--webhook-secret=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
	}
}

func (r *receiver) awaitCall(t *testing.T) {
	t.Helper()
	select {
	case <-r.called:
	case <-time.After(patience):
		t.Fatal("the webhook was not called")
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	r := startReceiver(t)
	databaseURL, redisURL := schematest.Database(t), servertest.Redis(t)
	p := start(t, append(on(databaseURL, redisURL, t.TempDir()), append(r.flags(), "--shutdown-timeout=5m")...)...)
	id := register(t, p.api, "ada@example.com")
	r.awaitCall(t)

	p.signal(syscall.SIGINT)
	p.awaitLog("draining")
	// The monitor answers until the end, and says what is going on.
	var ready readiness
	if status := getJSON(t, p.monitor+"/readyz", &ready); status != http.StatusServiceUnavailable || ready.Status != "draining" {
		t.Errorf("/readyz says %d %+v, want 503 and draining", status, ready)
	}
	eventually(t, "the API takes no more requests", func() bool { status, _ := get(t, p.api+usersPath+"/"+id); return status == 0 })
	if p.over() {
		t.Fatal("the first signal ended it while a task was running")
	}

	p.signal(syscall.SIGTERM)
	state, took := p.wait()
	status, _ := state.Sys().(syscall.WaitStatus)
	if took > 5*time.Second || !status.Signaled() || status.Signal() != syscall.SIGTERM {
		t.Errorf("after the second signal: %v after %v, want an end by that signal at once", state, took)
	}

	expireLeases(t, redisURL)
	close(r.release)
	p = start(t, append(on(databaseURL, redisURL, t.TempDir()), r.flags()...)...)
	openLedger(t, databaseURL).await([]string{id})
	p.stop()
}

func TestShutdownTimeoutGivesTheTaskBack(t *testing.T) {
	t.Parallel()
	r := startReceiver(t)
	databaseURL, redisURL := schematest.Database(t), servertest.Redis(t)
	p := start(t, append(on(databaseURL, redisURL, t.TempDir()), append(r.flags(), "--shutdown-timeout=2s")...)...)
	id := register(t, p.api, "ada@example.com")
	r.awaitCall(t)
	p.signal(syscall.SIGTERM)
	state, took := p.wait()
	if state.ExitCode() != 0 || took > 10*time.Second {
		t.Errorf("ended with %v after %v, want exit code 0 after about 2s", state, took)
	}
	t.Logf("gave up its task and ended after %v", took.Round(time.Millisecond))

	close(r.release)
	p = start(t, append(on(databaseURL, redisURL, t.TempDir()), r.flags()...)...)
	openLedger(t, databaseURL).await([]string{id})
	p.stop()
}
