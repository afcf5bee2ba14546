package dashboard

import (
	"context"
	"testing"

	"outboxd/domain"
	"outboxd/domain/replay"
	"outboxd/handler/dashboard/forms"
)

// Closing ends a running change. The change then has a fault, and keeps its
// progress. After that no change begins.
func TestClosingEndsARunningChange(t *testing.T) {
	t.Parallel()
	d := New(Options{})
	running := make(chan struct{})
	id, err := d.changes.begin(forms.Change{Action: "replay"}, func(ctx context.Context, tell func(replay.Progress)) error {
		tell(replay.Progress{Changed: 500})
		close(running)
		<-ctx.Done()
		return ctx.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	<-running
	if c, known := d.changes.find(id); !known || c.Done || c.Progress.Changed != 500 {
		t.Errorf("while it runs the change is %+v", c)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if c, known := d.changes.find(id); !known || !c.Done || c.Fault == "" || c.Progress.Changed != 500 {
		t.Errorf("after the end the change is %+v", c)
	}
	_, err = d.changes.begin(forms.Change{}, func(context.Context, func(replay.Progress)) error {
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
	d := New(Options{Sources: Sources{Wrote: func(context.Context) {
		steps = append(steps, "the standby is told")
		wrote <- len(steps)
	}}})
	id, err := d.beginChange(forms.Change{}, func(context.Context, func(replay.Progress)) error {
		steps = append(steps, "changed")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := <-wrote; n != 2 || steps[0] != "changed" {
		t.Errorf("the steps are %q", steps)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if c, _ := d.changes.find(id); !c.Done || c.Fault != "" {
		t.Errorf("the change is %+v", c)
	}
}
