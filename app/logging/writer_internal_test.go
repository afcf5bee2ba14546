package logging

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// disk is where a log goes: it may be full, or hang.
type disk struct {
	full  bool
	hangs chan struct{} // nil: it does not; else until it is closed
	text  strings.Builder
}

func (d *disk) Write(p []byte) (int, error) {
	if d.hangs != nil {
		<-d.hangs
	}
	if d.full {
		return 0, errors.New("no space left on device")
	}
	return d.text.Write(p)
}

func newTestLog(d *disk) *writer {
	return &writer{w: d, notice: func(lost int) []byte { return fmt.Appendf(nil, "(%d lost) ", lost) }}
}

func say(t *testing.T, l *writer, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if n, err := l.Write([]byte(line)); n != len(line) || err != nil {
			t.Errorf("%q: %d, %v", line, n, err)
		}
	}
}

func TestAFullDiskCostsLines(t *testing.T) {
	t.Parallel()
	d := &disk{}
	l := newTestLog(d)
	say(t, l, "a ")
	d.full = true
	say(t, l, "b ", "c ")
	d.full = false
	say(t, l, "d ", "e ")
	d.full = true
	say(t, l, "f ")
	d.full = false
	say(t, l, "g ")
	if text, want := d.text.String(), "a (2 lost) d e (1 lost) g "; text != want {
		t.Errorf("the log is %q, want %q", text, want)
	}
}

func TestALogThatHangsHoldsUpOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &disk{hangs: make(chan struct{})}
		l := newTestLog(d)
		begun := time.Now()
		say(t, l, "a ", "b ", "c ")
		if held := time.Since(begun); held != patience {
			t.Errorf("three lines were held up for %v, want %v for all of them", held, patience)
		}
		close(d.hangs)
		synctest.Wait()
		d.hangs = nil
		say(t, l, "d ", "e ")
		if text, want := d.text.String(), "a (2 lost) d e "; text != want {
			t.Errorf("the log is %q, want %q", text, want)
		}
	})
}
