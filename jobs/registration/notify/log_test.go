package notify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"outboxd/domain"
	"outboxd/domain/registration"
	"outboxd/jobs/registration/notify"
)

func newLogNotifier(t *testing.T) (notifier *notify.Log, dir string, log *bytes.Buffer) {
	t.Helper()
	dir, log = filepath.Join(t.TempDir(), "a", "mail"), new(bytes.Buffer)
	notifier, err := notify.NewLog(dir, slog.New(slog.NewJSONHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return notifier, dir, log
}

func fileNames(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func TestLogNotifierWritesMailAndLog(t *testing.T) {
	t.Parallel()
	notifier, dir, log := newLogNotifier(t)
	if err := notifier.Send(t.Context(), sampleMessage(t)); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, sampleEventID+".eml"))
	if err != nil {
		t.Fatal(err)
	}
	m := readMail(t, raw)
	checkSampleMail(t, m, "localhost")
	if from := m.header.Get("From"); from != `"outboxd" <outboxd@localhost>` {
		t.Errorf("From is %q", from)
	}
	if bare := bytes.ReplaceAll(raw, []byte("\r\n"), nil); bytes.ContainsAny(bare, "\r\n") {
		t.Error("the file has lines that do not end in CRLF")
	}

	var line map[string]any
	if err := json.Unmarshal(log.Bytes(), &line); err != nil {
		t.Fatalf("%v in %s", err, log)
	}
	for key, want := range map[string]any{
		"level": "INFO", "event_id": sampleEventID, "to": "ada@example.com", "copy": 1.0,
		"subject": "Welcome! Your account is ready", "text": registration.WelcomeMessage,
		"file": filepath.Join(dir, sampleEventID+".eml"),
	} {
		if line[key] != want {
			t.Errorf("log has %s=%v, want %v", key, line[key], want)
		}
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, line["file"].(string): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
}

func TestLogNotifierKeepsRepeats(t *testing.T) {
	t.Parallel()
	notifier, dir, _ := newLogNotifier(t)
	for i := range 3 {
		message := sampleMessage(t)
		message.Text = []string{"first", "second", "third"}[i]
		if err := notifier.Send(t.Context(), message); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{sampleEventID + ".2.eml", sampleEventID + ".3.eml", sampleEventID + ".eml"}
	if got := fileNames(t, dir); !slices.Equal(got, want) {
		t.Fatalf("files %q, want %q", got, want)
	}
	for i, text := range []string{"second", "third", "first"} {
		raw, err := os.ReadFile(filepath.Join(dir, want[i]))
		if err != nil {
			t.Fatal(err)
		}
		if m := readMail(t, raw); strings.TrimSpace(m.text) != text {
			t.Errorf("%s holds %q, want %q", want[i], m.text, text)
		}
	}
}

func TestLogNotifierConcurrently(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	notifier, err := notify.NewLog(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	const senders = 12
	message := sampleMessage(t)
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			if err := notifier.Send(t.Context(), message); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if names := fileNames(t, dir); len(names) != senders {
		t.Errorf("%d files of %d mails: %q", len(names), senders, names)
	}
}

func TestLogNotifierMakesItsDirectoryAgain(t *testing.T) {
	t.Parallel()
	notifier, dir, _ := newLogNotifier(t)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := notifier.Send(t.Context(), sampleMessage(t)); err != nil {
		t.Fatal(err)
	}
	if names := fileNames(t, dir); len(names) != 1 {
		t.Errorf("files %q, want one", names)
	}
}

func TestLogNotifierErrors(t *testing.T) {
	t.Parallel()
	t.Run("directory is a file", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := notify.NewLog(path, slog.New(slog.DiscardHandler)); err == nil {
			t.Error("no error")
		}
	})
	t.Run("directory was replaced", func(t *testing.T) {
		t.Parallel()
		notifier, dir, _ := newLogNotifier(t)
		if err := errors.Join(os.Remove(dir), os.WriteFile(dir, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		wantCode(t, notifier.Send(t.Context(), sampleMessage(t)), domain.CodeInternal)
	})
	t.Run("cancelled", func(t *testing.T) {
		t.Parallel()
		notifier, dir, _ := newLogNotifier(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := notifier.Send(ctx, sampleMessage(t)); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if names := fileNames(t, dir); names != nil {
			t.Errorf("files %q, want none", names)
		}
	})
}

// No content of a message may become a header, end the body, or turn into
// markup.
func TestMailCannotBeInjected(t *testing.T) {
	t.Parallel()
	for _, to := range []string{
		"", "ada", "ada@example.com\r\nBcc: eve@example.com", "ada@example.com\nBcc: eve@example.com",
		"ada@example.com\r\n\r\nHello", "ada@example.com, eve@example.com", "Ada <ada@example.com>",
		"\"ada\r\nBcc: eve\"@example.com", "<ada@example.com>", "ada@example.com ", "ada\x00@example.com",
		"=?utf-8?q?a=0D=0ABcc:?= <ada@example.com>", "ada@exa\u0000mple.com", "ada@bü cher.example",
	} {
		notifier, dir, log := newLogNotifier(t)
		message := sampleMessage(t)
		message.To = to
		err := notifier.Send(t.Context(), message)
		wantCode(t, err, domain.CodeInvalid, "eve@")
		if names := fileNames(t, dir); names != nil || log.Len() > 0 {
			t.Errorf("To %q: files %q, log %q", to, names, log)
		}
	}

	const evil = "X\r\nBcc: eve@example.com\r\n\r\n<script>alert(1)</script>\r\n.\r\nMAIL FROM:<eve@example.com>\r\nnaïve \xff\x00"
	notifier, dir, _ := newLogNotifier(t)
	message := sampleMessage(t)
	message.Type, message.Text = evil, evil
	if err := notifier.Send(t.Context(), message); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, sampleEventID+".eml"))
	if err != nil {
		t.Fatal(err)
	}
	m := readMail(t, raw)
	want := []string{
		"Auto-Submitted", "Content-Type", "Date", "From", "Message-Id",
		"Mime-Version", "Subject", "To", "User-Agent", "X-Mailer",
	}
	var got []string
	for name := range m.header {
		got = append(got, name)
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("headers %q, want %q", got, want)
	}
	if wantText := strings.ReplaceAll(evil, "\xff", "\uFFFD"); strings.TrimRight(m.text, "\r\n") != wantText {
		t.Errorf("text part is %q, want %q", m.text, wantText)
	}
	if strings.Contains(m.html, "<script>") || !strings.Contains(m.html, "&lt;script&gt;") {
		t.Errorf("HTML part is %q", m.html)
	}
}

func TestMailToInternationalDomain(t *testing.T) {
	t.Parallel()
	notifier, dir, _ := newLogNotifier(t)
	message := sampleMessage(t)
	message.To = "ada@bücher.example"
	if err := notifier.Send(t.Context(), message); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, sampleEventID+".eml"))
	if err != nil {
		t.Fatal(err)
	}
	if to := readMail(t, raw).header.Get("To"); to != "<ada@xn--bcher-kva.example>" {
		t.Errorf("To is %q", to)
	}
}
