package app_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"outboxd/domain"
	"outboxd/domain/setup"
	"outboxd/jobs/deliver"
)

func newSecret(key string) string {
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(key, 8)))
}

// example runs one of the receivers of docs/examples until the test ends or stop is called. It
// returns the receiver's URL.
func example(t *testing.T, secrets, program, file, journal string) (url string, stop func()) {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("the receivers in the documentation are tested with %s, which .ci/setup installs: %v", program, err)
	}
	command := exec.Command(path, filepath.Join("..", "docs", "examples", "receivers", file), "0", journal)
	command.Env, command.Stderr = append(os.Environ(), "RECEIVER_SECRETS="+secrets), os.Stderr
	output, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			_ = command.Process.Kill()
			_ = command.Wait()
		}
	}
	t.Cleanup(stop)
	line, err := bufio.NewReader(output).ReadString('\n')
	_, url, found := strings.Cut(strings.TrimSpace(line), "listening on ")
	if err != nil || !found {
		t.Fatalf("%s says %q, %v", program, line, err)
	}
	return url, stop
}

// postRaw sends a request unchanged, and returns the status of its answer.
func postRaw(t *testing.T, url, body string, header http.Header) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

// The documentation's receivers get deliveries from a real worker, in each format, signed with the
// older of the two keys that the receivers know. A repeat has no effect, also after a restart. A
// forged or old delivery is refused.
func TestExampleReceivers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		program, file string
		effects       func(t *testing.T, journal string) int
	}{
		{"python3", "receiver.py", func(t *testing.T, journal string) (n int) {
			t.Helper()
			// A Go driver for SQLite is not worth a dependency.
			output, err := exec.CommandContext(t.Context(), "python3", "-c", `import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute("SELECT count(*) FROM effects").fetchone()[0])`, journal).Output()
			if err == nil {
				n, err = strconv.Atoi(strings.TrimSpace(string(output)))
			}
			if err != nil {
				t.Fatal(err)
			}
			return n
		}},
		{"node", "receiver.mjs", func(t *testing.T, journal string) (n int) {
			t.Helper()
			text, err := os.ReadFile(journal)
			if err != nil {
				t.Fatal(err)
			}
			for line := range bytes.Lines(text) {
				if json.Valid(line) {
					n++
				}
			}
			return n
		}},
	} {
		t.Run(c.program, func(t *testing.T) {
			t.Parallel()
			former, present := newSecret("old"), newSecret("new")
			secret := filepath.Join(t.TempDir(), "secret")
			if err := os.WriteFile(secret, []byte(former), 0o600); err != nil {
				t.Fatal(err)
			}
			journal := filepath.Join(t.TempDir(), "journal")
			url, stop := example(t, present+" "+former, c.program, c.file, journal)
			p := newCourier(t, "worker")
			want := 0
			for _, format := range []string{setup.FormatRaw, setup.FormatCloudEvents, setup.FormatCloudEventsStructured} {
				name := strings.ReplaceAll(format, "-", ".")
				p.subscribe(setup.Subscription{Name: name, URL: url, Secrets: []string{"file:" + secret}, Format: format, Concurrency: 8})
				p.deliver(name, 20)
				want += 20
			}
			eventually(t, "all are confirmed", func() bool { return p.count("SELECT count(*) FROM inbox") == want })
			if n := c.effects(t, journal); n != want {
				t.Errorf("%d effects of %d deliveries", n, want)
			}
			probe := execute(t, nil, "subscriptions", "test", "raw", "--database-url="+p.url, "--deliver-allow=127.0.0.0/8")
			if probe.code != 0 || !strings.Contains(probe.stdout, "200 OK") || !strings.Contains(probe.stdout, "done") {
				t.Errorf("a probe: %+v", probe)
			}
			want++
			// The same delivery again: to this process, and to another one
			// after a restart.
			sender := deliver.NewSender(deliver.SenderOptions{Guard: deliver.NewGuard(netip.MustParsePrefix("127.0.0.0/8")), Connections: 1})
			t.Cleanup(sender.Close)
			again := func(answer string) {
				t.Helper()
				a := sender.Send(t.Context(), deliver.Target{Name: "raw", URL: url, Secrets: []string{"file:" + secret}},
					deliver.Delivery{EventID: domain.ID{1, 15: 7}, Type: "user:created", Payload: []byte(`{"name": "Zoë"}`), Attempt: 1})
				if a.Outcome != deliver.Accepted || a.Excerpt != answer {
					t.Errorf("%s, want %s", &a, answer)
				}
			}
			again("done")
			want++
			again("done before")
			stop()
			url, _ = example(t, present+" "+former, c.program, c.file, journal)
			again("done before")
			refuses(t, url, former)
			if n := c.effects(t, journal); n != want {
				t.Errorf("%d effects, want %d", n, want)
			}
		})
	}
}

func refuses(t *testing.T, url, secret string) {
	t.Helper()
	signer, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := standardwebhooks.NewWebhook(newSecret("nil"))
	if err != nil {
		t.Fatal(err)
	}
	const body = `{"n": 1}`
	signed := func(by *standardwebhooks.Webhook, at time.Time) http.Header {
		signature, err := by.Sign("x", at, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return http.Header{"Webhook-Id": {"x"}, "Webhook-Timestamp": {strconv.FormatInt(at.Unix(), 10)}, "Webhook-Signature": {signature}}
	}
	changed := signed(signer, time.Now())
	changed.Set("Webhook-Timestamp", strconv.FormatInt(time.Now().Unix()-1, 10))
	for name, c := range map[string]struct {
		body   string
		header http.Header
	}{
		"without a signature":     {body, http.Header{}},
		"of somebody else":        {body, signed(stranger, time.Now())},
		"of another body":         {`{"n": 2}`, signed(signer, time.Now())},
		"of another time":         {body, changed},
		"of ten minutes ago":      {body, signed(signer, time.Now().Add(-10*time.Minute))},
		"of ten minutes from now": {body, signed(signer, time.Now().Add(10*time.Minute))},
	} {
		if status := postRaw(t, url, c.body, c.header); status != http.StatusUnauthorized {
			t.Errorf("a request %s: status %d", name, status)
		}
	}
}

// TestSubscriptionsTest probes receivers that do not accept the probe, and reads the reason. It
// also probes one that does, and one that does not exist. No probe leaves a row.
func TestSubscriptionsTest(t *testing.T) {
	t.Parallel()
	p := newCourier(t, "monitor")
	status := func(code int) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://127.0.0.1/")
			w.WriteHeader(code)
			_, _ = io.WriteString(w, "so it is")
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	release := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(silent.Close)
	t.Cleanup(func() { close(release) })
	encrypted := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(encrypted.Close)
	allow := "--deliver-allow=127.0.0.0/8"
	for name, c := range map[string]struct {
		s    setup.Subscription
		flag string
		want []string
	}{
		"refused":  {setup.Subscription{URL: status(400)}, allow, []string{"400 Bad Request", "so it is", "would be a dead letter"}},
		"gone":     {setup.Subscription{URL: status(410)}, allow, []string{"410 Gone", "would pause the subscription"}},
		"busy":     {setup.Subscription{URL: status(503)}, allow, []string{"503", "would be tried again"}},
		"redirect": {setup.Subscription{URL: status(302)}, allow, []string{"redirect", "to where it leads"}},
		"silent":   {setup.Subscription{URL: silent.URL, Timeout: time.Second}, allow, []string{"no answer", "timeout", "gave up after 1s"}},
		"tls":      {setup.Subscription{URL: encrypted.URL}, allow, []string{"TLS", "certificate"}},
		"not.tls":  {setup.Subscription{URL: strings.Replace(status(200), "http:", "https:", 1)}, allow, []string{"TLS", "http://"}},
		"closed":   {setup.Subscription{URL: "http://127.0.0.1:1"}, allow, []string{"connection refused", "start the receiver"}},
		"private":  {setup.Subscription{URL: status(200)}, "--deliver-allow=", []string{"refused address", "--deliver-allow=127.0.0.1/32"}},
		"secret":   {setup.Subscription{URL: status(200), Secrets: []string{"env:OUTBOXD_TEST_NO_SECRET"}}, allow, []string{"secret", "OUTBOXD_TEST_NO_SECRET is not set"}},
	} {
		c.s.Name = name
		p.subscribe(c.s)
		r := execute(t, nil, "subscriptions", "test", name, "--database-url="+p.url, c.flag)
		if r.code != 1 {
			t.Errorf("%s: code %d", name, r.code)
		}
		for _, want := range c.want {
			if !strings.Contains(r.stdout, want) {
				t.Errorf("%s: %q is not in\n%s%s", name, want, r.stdout, r.stderr)
			}
		}
	}
	p.subscribe(setup.Subscription{Name: "well", URL: status(204)})
	if r := execute(t, nil, "subscriptions", "test", "well", "-o", "json", "--database-url="+p.url, allow); r.code != 0 || !strings.Contains(r.stdout, `"accepted": true`) {
		t.Errorf("%+v", r)
	}
	if r := execute(t, nil, "subscriptions", "test", "nobody", "--database-url="+p.url); r.code == 0 || !strings.Contains(r.stderr, "there is no subscription") {
		t.Errorf("%+v", r)
	}
	if n := p.count("SELECT (SELECT count(*) FROM inbox) + (SELECT count(*) FROM outbox_journal) + (SELECT count(*) FROM outbox_dead)"); n != 0 {
		t.Errorf("probes left %d rows", n)
	}
}
