package notify_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"outboxd/domain"
	"outboxd/jobs/registration/notify"
)

// newSMTP returns a notifier with a log of everything above debug.
func newSMTP(t *testing.T, options notify.SMTPOptions) (*notify.SMTP, *bytes.Buffer) {
	t.Helper()
	if options.From == "" {
		options.From = "Outbox <no-reply@mail.example.com>"
	}
	log := new(bytes.Buffer)
	notifier, err := notify.NewSMTP(options, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return notifier, log
}

func TestSMTPDelivers(t *testing.T) {
	t.Parallel()
	server, client := selfSigned(t)
	for name, c := range map[string]struct {
		sink    *mailSink
		options notify.SMTPOptions
	}{
		"plain":             {&mailSink{}, notify.SMTPOptions{TLS: notify.TLSNone}},
		"plain, TLS unused": {&mailSink{tls: server}, notify.SMTPOptions{TLS: notify.TLSNone}},
		"starttls":          {&mailSink{tls: server}, notify.SMTPOptions{TLS: notify.TLSStart, TLSConfig: client}},
		"by default":        {&mailSink{tls: server}, notify.SMTPOptions{TLSConfig: client}},
		"implicit":          {&mailSink{tls: server, implicit: true}, notify.SMTPOptions{TLS: notify.TLSImplicit, TLSConfig: client}},
		"starttls with password": {
			&mailSink{tls: server, needsAuth: true},
			notify.SMTPOptions{TLS: notify.TLSStart, TLSConfig: client, Username: mailUser, Password: mailPassword},
		},
		"implicit with password": {
			&mailSink{tls: server, implicit: true, needsAuth: true},
			notify.SMTPOptions{TLS: notify.TLSImplicit, TLSConfig: client, Username: mailUser, Password: mailPassword},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sink := c.sink.start(t)
			c.options.Addr = sink.addr
			notifier, log := newSMTP(t, c.options)
			if err := notifier.Send(t.Context(), sampleMessage(t)); err != nil {
				t.Fatal(err)
			}
			mails := sink.received()
			if len(mails) != 1 {
				t.Fatalf("%d mails, want 1", len(mails))
			}
			got := mails[0]
			if got.from != "no-reply@mail.example.com" || !slices.Equal(got.to, []string{"ada@example.com"}) {
				t.Errorf("envelope from %q to %q", got.from, got.to)
			}
			if got.user != c.options.Username || got.tls != (c.options.TLS != notify.TLSNone) {
				t.Errorf("user %q, encrypted %v", got.user, got.tls)
			}
			m := readMail(t, got.raw)
			checkSampleMail(t, m, "mail.example.com")
			if from := m.header.Get("From"); from != `"Outbox" <no-reply@mail.example.com>` {
				t.Errorf("From is %q", from)
			}
			if log.Len() > 0 {
				t.Errorf("log above debug: %s", log)
			}
		})
	}
}

func TestSMTPConcurrently(t *testing.T) {
	t.Parallel()
	server, client := selfSigned(t)
	sink := (&mailSink{tls: server, needsAuth: true}).start(t)
	notifier, _ := newSMTP(t, notify.SMTPOptions{Addr: sink.addr, TLSConfig: client, Username: mailUser, Password: mailPassword})
	const senders = 8
	var wg sync.WaitGroup
	for i := range senders {
		message := sampleMessage(t)
		message.To = fmt.Sprintf("user%d@example.com", i)
		wg.Go(func() {
			if err := notifier.Send(t.Context(), message); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	seen := make(map[string]bool)
	for _, m := range sink.received() {
		if len(m.to) != 1 {
			t.Errorf("recipients %q in one mail", m.to)
		}
		seen[m.to[0]] = true
	}
	if len(seen) != senders {
		t.Errorf("recipients %v, want %d of them", seen, senders)
	}
}

// A dot alone on a line ends a message in SMTP; a text may contain one.
func TestSMTPBodyArrivesWhole(t *testing.T) {
	t.Parallel()
	sink := (&mailSink{}).start(t)
	notifier, _ := newSMTP(t, notify.SMTPOptions{Addr: sink.addr, TLS: notify.TLSNone})
	message := sampleMessage(t)
	message.Text = "one\r\n.\r\nRSET\r\nMAIL FROM:<eve@example.com>\r\n..two\r\nnaïve ☃ " + strings.Repeat("long ", 500)
	if err := notifier.Send(t.Context(), message); err != nil {
		t.Fatal(err)
	}
	mails := sink.received()
	if len(mails) != 1 {
		t.Fatalf("%d mails, want 1", len(mails))
	}
	if m := readMail(t, mails[0].raw); strings.TrimRight(m.text, "\r\n") != message.Text {
		t.Errorf("text part is %q, want %q", m.text, message.Text)
	}
}

func TestSMTPRefusals(t *testing.T) {
	t.Parallel()
	const invalid, unavailable = domain.CodeInvalid, domain.CodeUnavailable
	rude := "<ada@example.com> \r\x1b no " + strings.Repeat("never ", 50)
	for _, c := range []struct {
		stage string
		code  int
		want  domain.Code
	}{
		{"hello", 421, unavailable},
		{"hello", 554, unavailable},
		{"mail", 451, unavailable},
		{"mail", 550, unavailable},
		{"mail", 530, unavailable},
		{"rcpt", 450, unavailable},
		{"rcpt", 452, unavailable},
		{"rcpt", 421, unavailable},
		{"rcpt", 550, invalid},
		{"rcpt", 553, invalid},
		{"rcpt", 501, invalid},
		{"rcpt", 530, unavailable},
		{"rcpt", 535, unavailable},
		{"rcpt", 503, unavailable},
		{"data", 452, unavailable},
		{"data", 451, unavailable},
		{"data", 552, invalid},
		{"data", 554, invalid},
		{"data", 535, unavailable},
	} {
		t.Run(fmt.Sprintf("%s %d", c.stage, c.code), func(t *testing.T) {
			t.Parallel()
			sink, refuse := &mailSink{}, refusal(c.code, rude)
			switch c.stage {
			case "hello":
				sink.onHello = refuse
			case "mail":
				sink.onMail = refuse
			case "rcpt":
				sink.onRcpt = refuse
			case "data":
				sink.onData = func(*smtp.Conn) error { return refuse() }
			}
			sink.start(t)
			notifier, log := newSMTP(t, notify.SMTPOptions{Addr: sink.addr, TLS: notify.TLSNone})
			err := notifier.Send(t.Context(), sampleMessage(t))
			wantCode(t, err, c.want, "ada@example.com", "\r", "\x1b")
			if err != nil && (!strings.Contains(err.Error(), fmt.Sprint(c.code)) || len(err.Error()) > 400) {
				t.Errorf("unfit error %q", err)
			}
			if len(sink.received()) > 0 || log.Len() > 0 {
				t.Errorf("mails %v, log %s", sink.received(), log)
			}
		})
	}
}

// Faults before the recipient is named are the configuration's, whatever code the server gives
// them.
func TestSMTPConfigurationFaultsCanBeRetried(t *testing.T) {
	t.Parallel()
	server, client := selfSigned(t)
	credentials := notify.SMTPOptions{TLSConfig: client, Username: mailUser, Password: "hunter2"}
	secrets := []string{"hunter2", base64.StdEncoding.EncodeToString([]byte("\x00" + mailUser + "\x00hunter2"))}
	for name, c := range map[string]struct {
		addr    string
		options notify.SMTPOptions
	}{
		"wrong password":        {(&mailSink{tls: server, needsAuth: true}).start(t).addr, credentials},
		"no password":           {(&mailSink{tls: server, needsAuth: true}).start(t).addr, notify.SMTPOptions{TLSConfig: client}},
		"server knows no AUTH":  {(&mailSink{tls: server}).start(t).addr, credentials},
		"server knows no TLS":   {(&mailSink{}).start(t).addr, notify.SMTPOptions{}},
		"unknown certificate":   {(&mailSink{tls: server}).start(t).addr, notify.SMTPOptions{}},
		"unknown, implicit":     {(&mailSink{tls: server, implicit: true}).start(t).addr, notify.SMTPOptions{TLS: notify.TLSImplicit}},
		"TLS to a plain server": {(&mailSink{}).start(t).addr, notify.SMTPOptions{TLS: notify.TLSImplicit, Timeout: 5 * time.Second}},
		"greeting 554":          {scriptedSMTP(t, map[string]string{"greeting": "554 go away"}), notify.SMTPOptions{TLS: notify.TLSNone}},
		"EHLO and HELO 550":     {scriptedSMTP(t, map[string]string{"EHLO": "550 no", "HELO": "550 no"}), notify.SMTPOptions{TLS: notify.TLSNone}},
		"STARTTLS 554":          {scriptedSMTP(t, map[string]string{"STARTTLS": "554 no"}), notify.SMTPOptions{}},
		"not SMTP":              {scriptedSMTP(t, map[string]string{"greeting": "HTTP/1.1 400 Bad Request"}), notify.SMTPOptions{TLS: notify.TLSNone}},
		"password without TLS":  {(&mailSink{needsAuth: true}).start(t).addr, notify.SMTPOptions{TLS: notify.TLSNone, Username: mailUser, Password: "hunter2"}},
		"refused":               {closedAddr(t), notify.SMTPOptions{TLS: notify.TLSNone}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.options.Addr = c.addr
			notifier, _ := newSMTP(t, c.options)
			wantCode(t, notifier.Send(t.Context(), sampleMessage(t)), domain.CodeUnavailable, secrets...)
		})
	}
}

func TestSMTPStallsAndDrops(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"greeting", "EHLO", "MAIL", "RCPT", "DATA", "."} {
		t.Run(step+" stalls", func(t *testing.T) {
			t.Parallel()
			addr := scriptedSMTP(t, map[string]string{step: stalls})
			notifier, _ := newSMTP(t, notify.SMTPOptions{Addr: addr, TLS: notify.TLSNone, Timeout: 200 * time.Millisecond})
			start := time.Now()
			err := notifier.Send(t.Context(), sampleMessage(t))
			took := time.Since(start)
			wantCode(t, err, domain.CodeUnavailable)
			if !errors.Is(err, context.DeadlineExceeded) || took < 200*time.Millisecond || took > 10*time.Second {
				t.Errorf("%v after %s", err, took)
			}
		})
		t.Run(step+" drops", func(t *testing.T) {
			t.Parallel()
			addr := scriptedSMTP(t, map[string]string{step: drops, "HELO": drops})
			notifier, _ := newSMTP(t, notify.SMTPOptions{Addr: addr, TLS: notify.TLSNone})
			wantCode(t, notifier.Send(t.Context(), sampleMessage(t)), domain.CodeUnavailable)
		})
	}
	for step, options := range map[string]notify.SMTPOptions{
		"STARTTLS": {},
		"AUTH":     {TLS: notify.TLSNone, Username: mailUser, Password: mailPassword},
	} {
		t.Run(step+" stalls", func(t *testing.T) {
			t.Parallel()
			options.Addr, options.Timeout = scriptedSMTP(t, map[string]string{step: stalls}), 200*time.Millisecond
			notifier, _ := newSMTP(t, options)
			start := time.Now()
			err := notifier.Send(t.Context(), sampleMessage(t))
			wantCode(t, err, domain.CodeUnavailable)
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 10*time.Second {
				t.Errorf("%v after %s", err, time.Since(start))
			}
		})
	}
}

func TestSMTPCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	sink := &mailSink{onRcpt: func() error {
		cancel()
		<-t.Context().Done() // the test's end
		return errDropped
	}}
	sink.start(t)
	notifier, _ := newSMTP(t, notify.SMTPOptions{Addr: sink.addr, TLS: notify.TLSNone})
	err := notifier.Send(ctx, sampleMessage(t))
	wantCode(t, err, domain.CodeUnavailable)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// If the last answer is lost, it is unknown whether the server accepted the
// message. After the last answer no later failure matters.
func TestSMTPLastAnswerDecides(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sink *mailSink
		want domain.Code
	}{
		"dropped before": {&mailSink{onData: func(conn *smtp.Conn) error {
			_ = conn.Conn().Close()
			return errDropped
		}}, domain.CodeUnavailable},
		"dropped after": {&mailSink{onReset: func(conn *smtp.Conn) { _ = conn.Conn().Close() }}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sink := c.sink.start(t)
			notifier, _ := newSMTP(t, notify.SMTPOptions{Addr: sink.addr, TLS: notify.TLSNone})
			wantCode(t, notifier.Send(t.Context(), sampleMessage(t)), c.want)
			if kept := len(sink.received()) == 1; kept != (c.want == "") {
				t.Errorf("the server has the mail: %v", kept)
			}
		})
	}
	for _, quit := range []string{drops, stalls, "421 too late", "500 what?"} {
		t.Run("QUIT "+quit, func(t *testing.T) {
			t.Parallel()
			addr := scriptedSMTP(t, map[string]string{"QUIT": quit})
			notifier, _ := newSMTP(t, notify.SMTPOptions{Addr: addr, TLS: notify.TLSNone, Timeout: time.Minute})
			start := time.Now()
			if err := notifier.Send(t.Context(), sampleMessage(t)); err != nil {
				t.Error(err)
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
	t.Run("refused, then QUIT stalls", func(t *testing.T) {
		t.Parallel()
		addr := scriptedSMTP(t, map[string]string{"RCPT": "550 no such user", "QUIT": stalls})
		notifier, _ := newSMTP(t, notify.SMTPOptions{Addr: addr, TLS: notify.TLSNone, Timeout: 3 * time.Second})
		wantCode(t, notifier.Send(t.Context(), sampleMessage(t)), domain.CodeInvalid)
	})
}

func TestSMTPRefusesImpossibleMessages(t *testing.T) {
	t.Parallel()
	notifier, _ := newSMTP(t, notify.SMTPOptions{Addr: closedAddr(t), TLS: notify.TLSNone})
	for _, to := range []string{"", "ada@example.com\r\nDATA", "ada@example.com>\r\nRCPT TO:<eve@example.com"} {
		message := sampleMessage(t)
		message.To = to
		wantCode(t, notifier.Send(t.Context(), message), domain.CodeInvalid, "example.com")
	}
	message := sampleMessage(t)
	message.EventID = domain.ID{}
	wantCode(t, notifier.Send(t.Context(), message), domain.CodeInvalid)
}

// A display name can hold any character once it is decoded.
func TestSMTPSenderNameCannotBeInjected(t *testing.T) {
	t.Parallel()
	sink := (&mailSink{}).start(t)
	notifier, _ := newSMTP(t, notify.SMTPOptions{
		Addr: sink.addr, TLS: notify.TLSNone,
		From: "=?utf-8?q?Eve=0D=0ABcc=3A_eve=40example.com?= <no-reply@bücher.example>",
	})
	if err := notifier.Send(t.Context(), sampleMessage(t)); err != nil {
		t.Fatal(err)
	}
	mails := sink.received()
	if len(mails) != 1 || len(mails[0].to) != 1 {
		t.Fatalf("got %v", mails)
	}
	m := readMail(t, mails[0].raw)
	checkSampleMail(t, m, "xn--bcher-kva.example")
	if _, ok := m.header["Bcc"]; ok || mails[0].from != "no-reply@xn--bcher-kva.example" {
		t.Errorf("from %q, headers %q", mails[0].from, m.header)
	}
}

func TestSMTPOptions(t *testing.T) {
	t.Parallel()
	good := notify.SMTPOptions{Addr: "mail.example.com:587", From: "no-reply@example.com"}
	if _, err := notify.NewSMTP(good, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*notify.SMTPOptions){
		"no address":            func(o *notify.SMTPOptions) { o.Addr = "" },
		"no port":               func(o *notify.SMTPOptions) { o.Addr = "mail.example.com" },
		"no host":               func(o *notify.SMTPOptions) { o.Addr = ":587" },
		"no sender":             func(o *notify.SMTPOptions) { o.From = "" },
		"sender with a header":  func(o *notify.SMTPOptions) { o.From = "no-reply@example.com\r\nBcc: eve@example.com" },
		"unknown encryption":    func(o *notify.SMTPOptions) { o.TLS = "ssl" },
		"negative timeout":      func(o *notify.SMTPOptions) { o.Timeout = -time.Second },
		"password without user": func(o *notify.SMTPOptions) { o.Password = "hunter2" },
	} {
		bad := good
		spoil(&bad)
		_, err := notify.NewSMTP(bad, slog.New(slog.DiscardHandler))
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
