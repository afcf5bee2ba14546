package app_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
)

const (
	clientTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	clientSpan   = "00f067aa0ba902b7"
	clientParent = "00-" + clientTrace + "-" + clientSpan + "-01"
)

// registerIn registers a user inside a client's trace; traceparent "" means no trace.
func registerIn(t *testing.T, traceparent, api, email string) string {
	t.Helper()
	body := strings.NewReader(`{"email":"` + email + `","password":"correct horse battery"}`)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, api+usersPath, body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if traceparent != "" {
		request.Header.Set("Traceparent", traceparent)
	}
	response, err := browse(t).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	var user struct{ ID string }
	if err != nil || response.StatusCode != http.StatusCreated || json.Unmarshal(text, &user) != nil {
		t.Fatalf("register: %d %s %v", response.StatusCode, text, err)
	}
	return user.ID
}

// wantBelow fails the test unless span has the client's trace and parent's ID as its parent.
func wantBelow(t *testing.T, span, parent receivedSpan) {
	t.Helper()
	if trace := hex.EncodeToString(span.GetTraceId()); trace != clientTrace {
		t.Errorf("%s is in trace %s, want the client's", span.GetName(), trace)
	}
	if !bytes.Equal(span.GetParentSpanId(), parent.GetSpanId()) {
		t.Errorf("%s is below %x, want it below %s", span.GetName(), span.GetParentSpanId(), parent.GetName())
	}
}

func TestOneTraceFromRequestToMail(t *testing.T) {
	t.Parallel()
	traces, mail := receiveOverHTTP(t), takeMail(t)
	p := launchWith(t, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + traces.url, "OTEL_BSP_SCHEDULE_DELAY=100", "OTEL_RESOURCE_ATTRIBUTES=team=night"},
		"--database-url="+schematest.Database(t), "--redis-url="+servertest.Redis(t), "--data-dir="+t.TempDir(),
		"--notify=smtp", "--smtp-addr="+mail, "--smtp-tls=none", "--smtp-from=outboxd@example.com")
	p.awaitReady()
	awaitSent(t, p.api, registerIn(t, clientParent, p.api, "ada@example.com"))
	eventually(t, "the span of the mail arrives", func() bool { return traces.find("SMTP send").Span != nil })
	eventually(t, "the span of the task arrives", func() bool { return traces.find("process notifications").Span != nil })
	_, page := getOpenMetrics(t, p.monitor+"/metrics")
	p.stop() // which also sends the spans that were not sent yet

	request, send, process, smtpSend := traces.find("POST "+usersPath), traces.find("send notifications"), traces.find("process notifications"), traces.find("SMTP send")
	wantBelow(t, request, receivedSpan{Span: &tracepb.Span{Name: "the client", SpanId: unhex(t, clientSpan)}})
	wantBelow(t, send, request)
	wantBelow(t, process, send)
	wantBelow(t, smtpSend, process)
	for _, want := range []struct {
		span             receivedSpan
		kind             tracepb.Span_SpanKind
		attribute, value string
	}{
		{request, tracepb.Span_SPAN_KIND_SERVER, "http.route", usersPath},
		{request, tracepb.Span_SPAN_KIND_SERVER, "http.request.method", "POST"},
		{request, tracepb.Span_SPAN_KIND_SERVER, "url.path", usersPath},
		{send, tracepb.Span_SPAN_KIND_PRODUCER, "messaging.operation.type", "send"},
		{send, tracepb.Span_SPAN_KIND_PRODUCER, "messaging.system", "asynq"},
		{send, tracepb.Span_SPAN_KIND_PRODUCER, "messaging.destination.name", "notifications"},
		{process, tracepb.Span_SPAN_KIND_CONSUMER, "messaging.operation.type", "process"},
		{process, tracepb.Span_SPAN_KIND_CONSUMER, "messaging.message.id", send.text("messaging.message.id")},
		{smtpSend, tracepb.Span_SPAN_KIND_CLIENT, "network.protocol.name", "smtp"},
		{smtpSend, tracepb.Span_SPAN_KIND_CLIENT, "server.address", "127.0.0.1"},
	} {
		if got := want.span.text(want.attribute); want.span.GetKind() != want.kind || got != want.value {
			t.Errorf("%s is a %v with %s=%q, want a %v with %q", want.span.GetName(), want.span.GetKind(), want.attribute, got, want.kind, want.value)
		}
	}
	if code := request.number("http.response.status_code"); code != http.StatusCreated {
		t.Errorf("the request's status is %d", code)
	}
	if about := request.process; about["service.name"] != "outboxd" || about["service.version"] != "1.2.3" || about["team"] != "night" || about["service.instance.id"] == "" {
		t.Errorf("the spans come from %v", about)
	}
	wantStatements(t, traces, request, process)
	if !strings.Contains(page, `# {trace_id="`+clientTrace+`"}`) {
		t.Error("no histogram names the trace as an example")
	}
}

// wantStatements checks that there are spans for the statements of the
// producer's and the consumer's transactions, and none for statements without a
// parent span, such as the claims.
func wantStatements(t *testing.T, traces *otlpReceiver, request, process receivedSpan) {
	t.Helper()
	emitted, confirmed := false, false
	parents := map[string][]byte{}
	for _, span := range traces.spans() {
		parents[string(span.GetSpanId())] = span.GetParentSpanId()
	}
	// The statements of a batch are below the span of the batch.
	isBelow := func(span, above receivedSpan) bool {
		parent := span.GetParentSpanId()
		return bytes.Equal(parent, above.GetSpanId()) || bytes.Equal(parents[string(parent)], above.GetSpanId())
	}
	for _, span := range traces.spans() {
		text := span.text("db.query.text")
		if text == "" {
			continue
		}
		emitted = emitted || isBelow(span, request) && strings.Contains(text, `INSERT INTO "outboxd".outbox `)
		confirmed = confirmed || isBelow(span, process) && strings.Contains(text, "confirm_many")
		if len(span.GetParentSpanId()) == 0 {
			t.Errorf("a statement is a trace of its own: %s", text)
		}
		if span.text("db.system.name") != "postgresql" {
			t.Errorf("a statement's database is %q", span.text("db.system.name"))
		}
		for _, a := range span.GetAttributes() {
			if strings.Contains(a.GetValue().String(), "ada@example.com") {
				t.Errorf("%s has what the statement was given: %v", a.GetKey(), a.GetValue())
			}
		}
	}
	if !emitted || !confirmed {
		t.Errorf("the event's insert is in the trace: %v, its confirmation: %v", emitted, confirmed)
	}
}

func TestWebhookJoinsTheTrace(t *testing.T) {
	t.Parallel()
	traces, arrived := receiveOverGRPC(t), make(chan string, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { arrived <- r.Header.Get("Traceparent") }))
	t.Cleanup(receiver.Close)
	p := launchWith(t, []string{"OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=" + traces.url},
		"--database-url="+schematest.Database(t), "--redis-url="+servertest.Redis(t), "--data-dir="+t.TempDir(),
		"--notify=webhook", "--webhook-url="+receiver.URL+"/hook/t0ken", "--webhook-secret=whsec_aGlkZGVuMmhpZGRlbjJoaWRkZW4yaGlk")
	p.awaitReady()
	awaitSent(t, p.api, registerIn(t, clientParent, p.api, "ada@example.com"))
	p.stop()
	call := traces.find("POST")
	wantBelow(t, call, traces.find("process notifications"))
	if got, want := <-arrived, "00-"+clientTrace+"-"+hex.EncodeToString(call.GetSpanId())+"-01"; got != want {
		t.Errorf("the receiver is told %q, want %q", got, want)
	}
	if call.number("http.response.status_code") != http.StatusOK || strings.Contains(call.String(), "t0ken") {
		t.Errorf("the call is recorded as %v", call)
	}
}

// Without OpenTelemetry's variables a process makes no spans. Nor does it make any in a trace that
// the client does not record.
func TestTracesAreOffUnlessAskedFor(t *testing.T) {
	t.Parallel()
	traces := receiveOverHTTP(t)
	databaseURL, redisURL := schematest.Database(t), servertest.Redis(t)
	for _, c := range []struct{ name, parent, exporter string }{
		{"unset", clientParent, ""},
		{"none", clientParent, "OTEL_TRACES_EXPORTER=none"},
		{"disabled", clientParent, "OTEL_SDK_DISABLED=true"},
		{"unsampled", strings.TrimSuffix(clientParent, "01") + "00", "OTEL_TRACES_EXPORTER=otlp"},
	} {
		environ := []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + traces.url, c.exporter}
		if c.exporter == "" {
			environ = nil
		}
		p := launchWith(t, environ, on(databaseURL, redisURL, t.TempDir())...)
		p.awaitReady()
		awaitSent(t, p.api, registerIn(t, c.parent, p.api, c.name+"@example.com"))
		p.stop()
	}
	for _, span := range traces.spans() {
		if hex.EncodeToString(span.GetTraceId()) == clientTrace {
			t.Errorf("%s was recorded", span.GetName())
		}
	}
}

func TestTracingSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for variable, want := range map[string]string{
		"OTEL_TRACES_EXPORTER=zipkin": "outboxd has the exporters otlp and none",
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1,OTEL_EXPORTER_OTLP_PROTOCOL=http/json": "outboxd speaks http/protobuf and grpc",
	} {
		r := execute(t, strings.Split(variable, ","), "--monitor-addr=127.0.0.1:0", "--api-addr=127.0.0.1:0", "--data-dir="+t.TempDir())
		if r.code != 2 || !strings.Contains(r.message(), want) {
			t.Errorf("%s: exit code %d and %q, want 2 and %q", variable, r.code, r.message(), want)
		}
	}
}

// If the collector cannot be reached, the spans are lost, and OpenTelemetry's errors make at most
// one line in the log. Work does not wait for the collector, and the process still ends.
func TestCollectorIsAway(t *testing.T) {
	t.Parallel()
	p := launchWith(t, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + nobody(t), "OTEL_BSP_SCHEDULE_DELAY=50"},
		on(schematest.Database(t), servertest.Redis(t), t.TempDir())...)
	p.awaitReady()
	awaitSent(t, p.api, registerIn(t, "", p.api, "ada@example.com"))
	p.stop()
	if said := strings.Count(p.log.String(), `"component":"opentelemetry"`); said > 1 {
		t.Errorf("the log complains %d times", said)
	}
}

// nobody returns an address at which no process listens.
func nobody(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// getOpenMetrics is like get, for a page of metrics with exemplars.
func getOpenMetrics(t *testing.T, url string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	response, err := browse(t).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// takeMail starts a mail server that takes everything, and returns its address.
func takeMail(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return mailbox{}, nil }))
	server.Domain = "localhost"
	server.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		_ = listener.Close() // Serve may not have reached it yet
		<-done
	})
	return listener.Addr().String()
}

// mailbox takes every mail.
type mailbox struct{}

func (mailbox) Reset()                               {}
func (mailbox) Logout() error                        { return nil }
func (mailbox) Mail(string, *smtp.MailOptions) error { return nil }
func (mailbox) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (mailbox) Data(r io.Reader) error               { _, err := io.Copy(io.Discard, r); return err }

var _ smtp.Session = mailbox{}
