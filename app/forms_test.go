package app_test

import (
	"regexp"
	"strings"
	"testing"
)

var (
	wrongPlural   = regexp.MustCompile(`(^|[^0-9,.])1 (tasks|events|attempts|keys|types|queues|workers|bytes|schedules|problems|dead letters|deliveries|places)\b`)
	wrongDuration = regexp.MustCompile(`^([0-9]+h)?[0-9]+m[0-9.]+s$|^[0-9]+h[0-9]+m|^[0-9.]+(s|ms|µs)$`)
	wrongNumber   = regexp.MustCompile(`^[0-9]{5,}$`)
)

// wrongForms returns what a text for people writes in another form than the rest: "1 tasks", 12500, 21m15s.
func wrongForms(text string) (wrong []string) {
	for _, found := range wrongPlural.FindAllString(text, -1) {
		wrong = append(wrong, strings.TrimSpace(found))
	}
	for word := range strings.FieldsSeq(text) {
		word = strings.Trim(word, ".,;:()[]+~≈")
		if wrongNumber.MatchString(word) || wrongDuration.MatchString(word) {
			wrong = append(wrong, word)
		}
	}
	return wrong
}

// TestWrongFormsAreFound shows that wantForms can fail.
func TestWrongFormsAreFound(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"1 tasks wait": "1 tasks", "12500 wait (21m15s)": "12500 21m15s", "in 1.5s": "1.5s", "1h30m ago": "1h30m",
		"11 tasks, 1 task, 12,500 events, 2.1 events, 21 min 15 s, 1,001 tasks": "",
	} {
		if got := strings.Join(wrongForms(text), " "); got != want {
			t.Errorf("%q has %q, want %q", text, got, want)
		}
	}
}

// wantForms wants numbers, durations and plurals of the page in one form. The numbers of processes are names.
func (p *tab) wantForms(page string) {
	p.t.Helper()
	text := p.MustEval(`() => {
		const main = document.querySelector("main").cloneNode(true);
		for (const other of main.querySelectorAll("pre, code, .mono, th .muted, h2 .muted")) other.remove();
		return [...main.querySelectorAll("*")].flatMap((e) => [...e.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data)).join("\n") + "\n" + main.innerText;
	}`).Str()
	if wrong := wrongForms(text); len(wrong) > 0 {
		p.t.Errorf("%s writes %q", page, wrong)
	}
}
