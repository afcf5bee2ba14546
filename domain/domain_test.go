package domain_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"outboxd/domain"
)

func TestTaskIDs(t *testing.T) {
	t.Parallel()
	const text = "01890000-0000-7000-8000-0000000000ff"
	id, err := domain.ParseID(strings.ToUpper(text))
	if err != nil || id.String() != text {
		t.Fatalf("%v, %v", id, err)
	}
	for generation, want := range map[int]string{0: text, 1: text + ".1", 12: text + ".12"} {
		e := domain.Event{ID: id, Generation: generation}
		if got := e.TaskID(); got != want {
			t.Errorf("generation %d: %s, want %s", generation, got, want)
		}
		if back, err := domain.EventID(want); err != nil || back != id {
			t.Errorf("EventID(%s): %v, %v", want, back, err)
		}
	}
	for _, bad := range []string{"", text + ".", text + ".0", text + ".01", text + ".+1", text + ".-1", text + ".x", text[1:], "{" + text + "}", strings.ReplaceAll(text, "-", "x"), text + "0"} {
		if _, err := domain.EventID(bad); domain.ErrorCode(err) != domain.CodeInvalid {
			t.Errorf("EventID(%q): %v, want invalid", bad, err)
		}
	}
}

func TestIDTime(t *testing.T) {
	t.Parallel()
	id, err := domain.ParseID("019c5a3e-9e00-7000-8000-000000000000")
	if err != nil {
		t.Fatal(err)
	}
	at, ok := id.Time()
	if want := time.UnixMilli(0x019c5a3e9e00); !ok || !at.Equal(want) {
		t.Errorf("%v, %t, want %v", at, ok, want)
	}
	if _, ok := (domain.ID{6: 0x40}).Time(); ok {
		t.Error("a random UUID has no time")
	}
}

func TestIDScan(t *testing.T) {
	t.Parallel()
	want := domain.ID{1, 2, 3}
	for _, src := range []any{want.String(), []byte(want.String()), want[:], [16]byte(want)} {
		var got domain.ID
		if err := got.Scan(src); err != nil || got != want {
			t.Errorf("Scan(%T): %v, %v", src, got, err)
		}
	}
	for _, src := range []any{nil, 7, "x", []byte("x")} {
		if err := new(domain.ID).Scan(src); err == nil {
			t.Errorf("Scan(%v) succeeded", src)
		}
	}
}

func TestErrorCode(t *testing.T) {
	t.Parallel()
	cause := errors.New("cause")
	wrapped := fmt.Errorf("outer: %w", domain.Wrap(domain.CodeConflict, cause, "taken"))
	for _, test := range []struct {
		err  error
		want domain.Code
	}{{nil, ""}, {cause, domain.CodeInternal}, {wrapped, domain.CodeConflict}, {domain.Errorf(domain.CodeInvalid, "bad %d", 1), domain.CodeInvalid}} {
		if got := domain.ErrorCode(test.err); got != test.want {
			t.Errorf("%v: %q, want %q", test.err, got, test.want)
		}
	}
	if !errors.Is(wrapped, cause) || wrapped.Error() != "outer: taken: cause" {
		t.Errorf("%v", wrapped)
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("01890000-0000-7000-8000-0000000000ff")
	f.Add("01890000-0000-7000-8000-0000000000ff.3")
	f.Fuzz(func(t *testing.T, text string) {
		if id, err := domain.ParseID(text); err == nil && id.String() != strings.ToLower(text) {
			t.Errorf("ParseID(%q) = %s", text, id)
		}
		if id, err := domain.EventID(text); err == nil && !strings.HasPrefix(strings.ToLower(text), id.String()) {
			t.Errorf("EventID(%q) = %s", text, id)
		}
	})
}

func FuzzParseCursor(f *testing.F) {
	for _, seed := range []string{"2026-01-02T03:04:05.000006Z/01980000-0000-7000-8000-000000000000", "/01980000-0000-7000-8000-000000000000", "2026-01-02T03:04:05Z/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := domain.ParseCursor(text)
		if err != nil {
			if domain.ErrorCode(err) != domain.CodeInvalid {
				t.Errorf("%q: %v, want it called invalid", text, err)
			}
			return
		}
		if c.Due.UTC().Year() > 9999 || c.Due.UTC().Year() < 0 {
			return // only the time zone takes the time out of the years that String can write
		}
		if again, err := domain.ParseCursor(c.String()); err != nil || again.Compare(c) != 0 {
			t.Errorf("%q is %s, and that is %s, %v", text, c, again, err)
		}
	})
}

func FuzzParseTaskID(f *testing.F) {
	for _, seed := range []string{"01980000-0000-7000-8000-000000000000", "01980000-0000-7000-8000-000000000000.1", "x.1", "01980000-0000-7000-8000-000000000000.01", "."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, generation, err := domain.ParseTaskID(text)
		if err != nil {
			return
		}
		event := domain.Event{ID: id, Generation: generation}
		if again := event.TaskID(); !strings.EqualFold(again, text) {
			t.Errorf("%q was read as %s of generation %d, which is %q", text, id, generation, again)
		}
	})
}
