package daemon

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
)

// patient answers what a test wants next.
type patient struct {
	found []domain.Finding
	err   error
}

func (p *patient) Examine(context.Context) ([]domain.Finding, error) { return p.found, p.err }

func TestWatchLogsWhatIsNewAndWhatIsMended(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	p := &patient{}
	w := &watch{server: diagnosis.Redis, examiner: p, log: slog.New(slog.NewTextHandler(&log, nil))}
	look := func(want time.Duration, level domain.FindingLevel, found string) string {
		t.Helper()
		log.Reset()
		p.found = nil
		if found != "" {
			p.found = []domain.Finding{{Code: "c", Level: level, Found: found, Consequence: "so it is", Remedy: "mend it"}}
		}
		if again := w.look(t.Context()); again != want {
			t.Errorf("%s: it looks again in %v, want %v", found, again, want)
		}
		return log.String()
	}
	if said := look(watchEvery, domain.FindingWarning, "one"); strings.Count(said, "level=WARN") != 1 || !strings.Contains(said, "finding=c") || !strings.Contains(said, `remedy="mend it"`) {
		t.Errorf("of a warning it says %q", said)
	}
	if said := look(watchEvery, domain.FindingWarning, "two"); said != "" {
		t.Errorf("of the same with another number it says %q", said)
	}
	if f := w.findings(); len(f) != 1 || f[0].Found != "two" || f[0].CheckedAt.IsZero() {
		t.Errorf("it knows of %v", f)
	}
	p.err = domain.Errorf(domain.CodeUnavailable, "away")
	if said := look(watchAgain, "", ""); said != "" {
		t.Errorf("of an outage, which others report, it says %q", said)
	}
	if f := w.findings(); len(f) != 1 || f[0].Code != "redis-unreachable" {
		t.Errorf("during an outage it knows of %v", f)
	}
	p.err = nil
	if said := look(watchEvery, domain.FindingNote, "three"); strings.Count(said, "level=INFO") != 1 || strings.Contains(said, "no longer") {
		t.Errorf("of a note it says %q", said)
	}
	if said := look(watchEvery, "", ""); !strings.Contains(said, "resolved: three") {
		t.Errorf("when nothing is left it says %q", said)
	}
	if f := w.findings(); len(f) != 0 {
		t.Errorf("in the end it knows of %v", f)
	}
}
