package notify_test

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	"outboxd/domain"
	"outboxd/domain/registration"
)

const sampleEventID = "0198f2c4-5a00-7cc3-98c4-dc0c0c07398f"

// sampleMessage returns a message such as the worker hands to a notifier.
func sampleMessage(t *testing.T) registration.Message {
	t.Helper()
	var ids [3]domain.ID
	for i, s := range []string{sampleEventID, "0198f2c4-5a01-7cc3-98c4-dc0c0c07398f", "0198f2c4-5a02-7cc3-98c4-dc0c0c07398f"} {
		id, err := domain.ParseID(s)
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = id
	}
	return registration.Message{
		EventID: ids[0], UserID: ids[1], NotificationID: ids[2],
		To: "ada@example.com", Type: registration.NotificationUserRegistration, Text: registration.WelcomeMessage,
		CreatedAt: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
	}
}

// receivedMail is a mail as its reader sees it.
type receivedMail struct {
	header     netmail.Header
	text, html string
}

// readMail parses raw and fails the test unless it is a text part followed by
// an HTML part.
func readMail(t *testing.T, raw []byte) receivedMail {
	t.Helper()
	parsed, err := netmail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("read the mail: %v\n%s", err, raw)
	}
	kind, params, err := mime.ParseMediaType(parsed.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("content type %q: %v", kind, err)
	}
	parts := multipart.NewReader(parsed.Body, params["boundary"])
	var bodies []string
	for _, want := range []string{"text/plain", "text/html"} {
		part, err := parts.NextRawPart()
		if err != nil {
			t.Fatalf("find the %s part: %v", want, err)
		}
		kind, params, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
		if err != nil || kind != want || !strings.EqualFold(params["charset"], "utf-8") {
			t.Errorf("part has type %q, charset %q, error %v; want %s", kind, params["charset"], err, want)
		}
		if encoding := part.Header.Get("Content-Transfer-Encoding"); encoding != "quoted-printable" {
			t.Fatalf("part has encoding %q", encoding)
		}
		body, err := io.ReadAll(quotedprintable.NewReader(part))
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, string(body))
	}
	if _, err := parts.NextRawPart(); err != io.EOF {
		t.Errorf("after the second part: %v, want EOF", err)
	}
	return receivedMail{parsed.Header, bodies[0], bodies[1]}
}

// checkSampleMail fails the test unless m carries sampleMessage, sent by a
// sender of the given domain.
func checkSampleMail(t *testing.T, m receivedMail, senderDomain string) {
	t.Helper()
	for name, want := range map[string]string{
		"To":             "<ada@example.com>",
		"Subject":        "Welcome! Your account is ready",
		"Message-Id":     "<" + sampleEventID + "@" + senderDomain + ">",
		"Date":           "Sun, 01 Mar 2026 12:00:00 +0000",
		"Auto-Submitted": "auto-generated",
		"User-Agent":     "outboxd",
		"Mime-Version":   "1.0",
	} {
		if got := m.header[name]; len(got) != 1 || got[0] != want {
			t.Errorf("%s is %q, want once %q", name, got, want)
		}
	}
	if strings.TrimSpace(m.text) != registration.WelcomeMessage {
		t.Errorf("text part is %q", m.text)
	}
	if !strings.Contains(m.html, "<p>"+registration.WelcomeMessage+"</p>") {
		t.Errorf("HTML part is %q", m.html)
	}
}

// wantCode fails the test unless err carries the code, and none of the secrets.
func wantCode(t *testing.T, err error, want domain.Code, secrets ...string) {
	t.Helper()
	if got := domain.ErrorCode(err); got != want {
		t.Errorf("got %q (%v), want %q", got, err, want)
	}
	for _, secret := range secrets {
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%q shows %q", err, secret)
		}
	}
}
