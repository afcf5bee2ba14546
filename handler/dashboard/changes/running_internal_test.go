package changes

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"outboxd/domain"
	"outboxd/domain/replay"
	"outboxd/handler/dashboard/forms"
	"outboxd/handler/dashboard/shell"
)

// Closing ends a running change. The change then has a fault, and keeps its
// progress. After that no change begins.
func TestClosingEndsARunningChange(t *testing.T) {
	t.Parallel()
	p := New(shell.New(shell.Options{}, shell.Place{}))
	running := make(chan struct{})
	id, err := p.begun.begin(forms.Change{Action: "replay"}, func(ctx context.Context, tell func(replay.Progress)) error {
		tell(replay.Progress{Changed: 500})
		close(running)
		<-ctx.Done()
		return ctx.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	<-running
	if c, known := p.begun.find(id); !known || c.Done || c.Progress.Changed != 500 {
		t.Errorf("while it runs the change is %+v", c)
	}
	p.Close()
	if c, known := p.begun.find(id); !known || !c.Done || c.Fault == "" || c.Progress.Changed != 500 {
		t.Errorf("after the end the change is %+v", c)
	}
	_, err = p.begun.begin(forms.Change{}, func(context.Context, func(replay.Progress)) error {
		t.Error("a change began after the end")
		return nil
	})
	if domain.ErrorCode(err) != domain.CodeConflict {
		t.Errorf("a change after the end: %v, want a conflict", err)
	}
}

// The standby must be told at the end of a change, because the pages must not miss what the
// change wrote. The change's request has ended long before.
func TestTheEndOfAChangeIsAwaitedFromTheStandby(t *testing.T) {
	t.Parallel()
	var steps []string
	wrote := make(chan int, 1)
	s := shell.New(shell.Options{}, shell.Place{})
	s.Connect(shell.Sources{Wrote: func(context.Context) {
		steps = append(steps, "the standby is told")
		wrote <- len(steps)
	}})
	p := New(s)
	id, err := p.begun.begin(forms.Change{}, func(context.Context, func(replay.Progress)) error {
		steps = append(steps, "changed")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := <-wrote; n != 2 || steps[0] != "changed" {
		t.Errorf("the steps are %q", steps)
	}
	p.Close()
	if c, _ := p.begun.find(id); !c.Done || c.Fault != "" {
		t.Errorf("the change is %+v", c)
	}
}

// A panic in the background must end neither the process nor the page of the change.
func TestAPanicEndsAChangeOnly(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	p := New(shell.New(shell.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, shell.Place{}))
	id, err := p.begun.begin(forms.Change{Action: "replay"}, func(context.Context, func(replay.Progress)) error { panic("a bug") })
	if err != nil {
		t.Fatal(err)
	}
	p.begun.running.Wait()
	if c, _ := p.begun.find(id); !c.Done || c.Fault == "" || strings.Contains(c.Fault, "a bug") {
		t.Errorf("the change is %+v", c)
	}
	if !strings.Contains(log.String(), "a bug") {
		t.Errorf("the log has %q", log.String())
	}
	p.Close()
}

// A double click sends a form twice. A form whose change failed may be sent once more.
func TestAFormThatIsSentTwiceBeginsOneChange(t *testing.T) {
	t.Parallel()
	p := New(shell.New(shell.Options{}, shell.Place{}))
	defer p.Close()
	form := forms.Change{Action: "replay", Token: "a"}
	begin := func(form forms.Change, work func(context.Context, func(replay.Progress)) error) int {
		t.Helper()
		id, err := p.begun.begin(form, work)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	fails := make(chan struct{})
	first := begin(form, func(context.Context, func(replay.Progress)) error {
		<-fails
		return domain.Errorf(domain.CodeUnavailable, "gone")
	})
	never := func(context.Context, func(replay.Progress)) error {
		t.Error("the form began a second change")
		return nil
	}
	if again := begin(form, never); again != first {
		t.Errorf("sent twice, it leads to the changes %d and %d", first, again)
	}
	other := begin(forms.Change{Action: "replay", Token: "b"}, func(context.Context, func(replay.Progress)) error { return nil })
	if other == first {
		t.Error("another form leads to the same change")
	}
	close(fails)
	p.begun.running.Wait()
	second := begin(form, func(context.Context, func(replay.Progress)) error { return nil })
	if second == first {
		t.Error("after a failure the form begins no other change")
	}
	p.begun.running.Wait()
	if again := begin(form, never); again != second {
		t.Errorf("after the end it leads to change %d, want %d", again, second)
	}
	if none := begin(forms.Change{Action: "replay"}, func(context.Context, func(replay.Progress)) error { return nil }); none == first || none == second {
		t.Error("a form without a token leads to another change")
	}
}
