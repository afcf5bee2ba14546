package deliver_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	protocol "github.com/cloudevents/sdk-go/v2/protocol/http"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"outboxd/domain/setup"
	"outboxd/jobs/deliver"
)

func TestADeliveryIsSignedAndHasTheEventInHeaders(t *testing.T) {
	t.Parallel()
	server, d := newReceiver(t, nil), sample()
	old, oldSecret := secretFile(t, "the old key of this receiver")
	fresh, freshSecret := secretFile(t, "the new key of this receiver")
	a := newSender(t).Send(t.Context(), deliver.Target{Name: "crm", URL: server.URL, Secrets: []string{old, fresh}}, d)
	if a.Outcome != deliver.Accepted || a.Status != http.StatusOK {
		t.Fatalf("%+v", a)
	}
	got := server.got()[0]
	if string(got.body) != string(d.Payload) {
		t.Errorf("the body is %q", got.body)
	}
	for _, secret := range []string{oldSecret, freshSecret} {
		verifier, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		if err := verifier.Verify(got.body, got.header); err != nil {
			t.Errorf("a receiver with one of two keys: %v", err)
		}
	}
	for name, want := range map[string]string{
		"webhook-id": d.EventID.String(), "Content-Type": "application/json", "User-Agent": "outboxd",
		"Outboxd-Event-Type": "user:created", "Outboxd-Event-Queue": "default", "Outboxd-Attempt": "2",
		"Outboxd-Header-Tenant": "blue", "Traceparent": d.Headers["traceparent"], "Idempotency-Key": "", "Accept-Encoding": "",
	} {
		if got.header.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, got.header.Get(name), want)
		}
	}
	if !strings.Contains(fmt.Sprint(got.header), "Outboxd-Header-Strange%20name%3a:[1%0A2 %C3%BC %25]") {
		t.Errorf("a value that HTTP does not take: %v", got.header)
	}
}

// The test vector of the Standard Webhooks libraries.
func TestTheSignatureIsThatOfTheStandard(t *testing.T) {
	t.Setenv("OUTBOXD_TEST_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	got, err := deliver.Sign([]string{"env:OUTBOXD_TEST_SECRET"}, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want || err != nil {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}

func TestCloudEvents(t *testing.T) {
	t.Parallel()
	reference, secret := secretFile(t, "a key for CloudEvents")
	verifier, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{setup.FormatCloudEvents, setup.FormatCloudEventsStructured} {
		for name, payload := range map[string][]byte{"JSON": []byte(`{"a": "<ü>"}`), "bytes": {0, 1, 0xff}, "nothing": nil} {
			t.Run(format+" "+name, func(t *testing.T) {
				t.Parallel()
				server, d := newReceiver(t, nil), sample()
				d.Payload, d.Type = payload, "user:crëated 100%"
				a := newSender(t).Send(t.Context(), deliver.Target{URL: server.URL, Secrets: []string{reference}, Format: format}, d)
				if a.Outcome != deliver.Accepted {
					t.Fatalf("%+v", a)
				}
				got := server.got()[0]
				if err := verifier.Verify(got.body, got.header); err != nil {
					t.Error(err)
				}
				structured := format == setup.FormatCloudEventsStructured
				if !structured && string(got.body) != string(payload) {
					t.Errorf("body %q", got.body)
				}
				request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(string(got.body)))
				request.Header = got.header
				e, err := protocol.NewEventFromHTTPRequest(request)
				if err != nil {
					t.Fatal(err)
				}
				kind := e.Type()
				if !structured {
					if kind, err = url.PathUnescape(kind); err != nil {
						t.Error(err)
					}
				}
				if e.ID() != d.EventID.String() || kind != d.Type || e.Source() != "outboxd" || e.Subject() != d.OrderingKey || !e.Time().Equal(d.CreatedAt) {
					t.Errorf("%s", e)
				}
				if e.Extensions()["tenant"] != "blue" || e.Extensions()["traceparent"] != d.Headers["traceparent"] {
					t.Errorf("extensions %v", e.Extensions())
				}
				if !sameData(e.Data(), payload) {
					t.Errorf("data %q, want %q", e.Data(), payload)
				}
			})
		}
	}
}

// sameData reports whether a and b are equal, as JSON or else byte for byte.
func sameData(a, b []byte) bool {
	var x, y any
	if json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil {
		return fmt.Sprint(x) == fmt.Sprint(y)
	}
	return string(a) == string(b)
}

func TestWhatAnAnswerMeans(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status  int
		outcome deliver.Outcome
		down    bool
	}{
		{200, deliver.Accepted, false},
		{204, deliver.Accepted, false},
		{299, deliver.Accepted, false},
		{301, deliver.Repeat, false},
		{307, deliver.Repeat, false},
		{400, deliver.Refused, false},
		{401, deliver.Refused, false},
		{404, deliver.Refused, false},
		{408, deliver.Repeat, false},
		{410, deliver.Gone, false},
		{413, deliver.Refused, false},
		{422, deliver.Refused, false},
		{425, deliver.Repeat, false},
		{429, deliver.Repeat, true},
		{431, deliver.Refused, false},
		{500, deliver.Repeat, false},
		{501, deliver.Repeat, false},
		{502, deliver.Repeat, true},
		{503, deliver.Repeat, true},
		{504, deliver.Repeat, true},
		{599, deliver.Repeat, false},
	} {
		t.Run(fmt.Sprint(c.status), func(t *testing.T) {
			t.Parallel()
			elsewhere := newReceiver(t, nil)
			headers := []string{"Location", elsewhere.URL, "Retry-After", "7"}
			server := newReceiver(t, status(c.status, "some\nwords", headers...))
			a := newSender(t).Send(t.Context(), deliver.Target{URL: server.URL}, sample())
			if a.Outcome != c.outcome || a.Down != c.down || a.Status != c.status || a.Took <= 0 || a.RetryAfter != 7*time.Second {
				t.Errorf("%+v", a)
			}
			if redirect := c.status/100 == 3; !redirect && c.status != 204 && a.Excerpt != "some words" {
				t.Errorf("excerpt %q", a.Excerpt)
			}
			if len(elsewhere.got()) > 0 || len(server.got()) != 1 {
				t.Error("a redirect was followed, or more than one request sent")
			}
		})
	}
}

func TestRetryAfterMayBeADate(t *testing.T) {
	t.Parallel()
	server := newReceiver(t, status(503, "", "Retry-After", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)))
	a := newSender(t).Send(t.Context(), deliver.Target{URL: server.URL}, sample())
	if a.RetryAfter < 50*time.Minute || a.RetryAfter > time.Hour {
		t.Errorf("%s", a.RetryAfter)
	}
}

func TestWithoutAnAnswerADeliveryIsRepeated(t *testing.T) {
	t.Parallel()
	closed := httptest.NewServer(nil)
	closed.Close()
	large, _ := secretFile(t, strings.Repeat("k", 4096))
	for name, c := range map[string]struct {
		url     string
		secrets []string
		want    string
	}{
		"nobody listens":  {url: closed.URL, want: "connection refused"},
		"no such host":    {url: "http://receiver.invalid", want: "receiver.invalid"},
		"it hangs up":     {url: newReceiver(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }).URL, want: "EOF"},
		"it is slow":      {url: newReceiver(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }).URL, want: "gave up after 300ms"},
		"no URL":          {url: "://", want: "URL"},
		"another scheme":  {url: "ftp://127.0.0.1", want: "unsupported protocol"},
		"no secret":       {url: closed.URL, secrets: []string{"env:OUTBOXD_NO_SUCH"}, want: "not set"},
		"no secret file":  {url: closed.URL, secrets: []string{"file:/nowhere/key"}, want: "no such file"},
		"a large file":    {url: closed.URL, secrets: []string{large}, want: "has more than 4096 bytes"},
		"a secret itself": {url: closed.URL, secrets: []string{"whsec_abcd"}, want: "neither"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newSender(t).Send(t.Context(), deliver.Target{URL: c.url, Secrets: c.secrets, Timeout: 300 * time.Millisecond}, sample())
			if a.Outcome != deliver.Repeat || !a.Down || a.Err == nil || !strings.Contains(a.String(), c.want) {
				t.Errorf("%+v: %s", a, a.String())
			}
			if strings.Contains(a.String(), "127.0.0.1/") || strings.Contains(a.String(), "whsec_") {
				t.Errorf("it quotes the URL or the secret: %s", a.String())
			}
		})
	}
}

// Of an endless answer only a bounded part is read, for a bounded time.
func TestAnswersAreReadUpToABound(t *testing.T) {
	t.Parallel()
	reference, secret := secretFile(t, "a key that nobody quotes")
	for name, answer := range map[string]http.HandlerFunc{
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			for chunk := []byte(secret + strings.Repeat(" x", 4096)); ; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		},
		"without an end": func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(secret))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newSender(t).Send(t.Context(), deliver.Target{URL: newReceiver(t, answer).URL, Secrets: []string{reference}}, sample())
			if a.Outcome != deliver.Accepted || len(a.Excerpt) > 300 || !strings.HasPrefix(a.Excerpt, "***") || a.Took > 5*time.Second {
				t.Errorf("%+v", a)
			}
		})
	}
	t.Run("headers", func(t *testing.T) {
		t.Parallel()
		large := newReceiver(t, status(200, "", "Large", strings.Repeat("x", 200<<10)))
		if a := newSender(t).Send(t.Context(), deliver.Target{URL: large.URL}, sample()); a.Status != 0 || a.Outcome != deliver.Repeat {
			t.Errorf("%+v", a)
		}
	})
}

// A proxy that does not accept outboxd's credentials answers in place of the receiver.
func TestAProxyThatRefusesItsCredentialsRefusesNoDelivery(t *testing.T) {
	t.Parallel()
	proxy := newReceiver(t, status(http.StatusProxyAuthRequired, "who are you?"))
	through, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := deliver.NewSender(deliver.SenderOptions{Guard: deliver.NewGuard(), Proxy: through})
	t.Cleanup(s.Close)
	r := deliver.NewReceiver(s, deliver.ReceiverOptions{Target: deliver.Target{URL: "http://receiver.invalid"}, DownAfter: 2})
	for i := range 2 {
		if a, charged := r.Deliver(t.Context(), sample()); a.Status != 407 || a.Outcome != deliver.Repeat || !a.Down || charged != (i == 0) {
			t.Errorf("attempt %d: %+v, charged %t", i+1, a, charged)
		}
	}
	if !r.Condition().Down {
		t.Error("the receiver does not count as down")
	}
}

func TestNoProxyIsTakenFromTheEnvironment(t *testing.T) {
	proxy, server := newReceiver(t, nil), newReceiver(t, nil)
	t.Setenv("HTTP_PROXY", proxy.URL)
	if a := newSender(t).Send(t.Context(), deliver.Target{URL: "http://receiver.invalid"}, sample()); a.Outcome != deliver.Repeat {
		t.Errorf("%+v", a)
	}
	if len(proxy.got()) > 0 {
		t.Error("a proxy that nobody configured got a delivery")
	}
	through, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := deliver.NewSender(deliver.SenderOptions{Guard: deliver.NewGuard(), Proxy: through})
	t.Cleanup(s.Close)
	if a := s.Send(t.Context(), deliver.Target{URL: "http://receiver.invalid"}, sample()); a.Outcome != deliver.Accepted || len(proxy.got()) != 1 {
		t.Errorf("through a proxy: %+v", a)
	}
	if a := s.Send(t.Context(), deliver.Target{URL: server.URL}, sample()); !errors.Is(a.Err, deliver.ErrRefusedAddress) {
		t.Errorf("an address of this machine through a proxy: %+v", a)
	}
}
