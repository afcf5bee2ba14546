package lookout_test

import (
	"context"
	"strings"
	"testing"

	"outboxd/app/lookout"
	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain/lost"
	"outboxd/jobs/broker"
	"outboxd/jobs/publish"
	"outboxd/repository/heal"
)

// The leader may be slow, or stop, after each step of a renewal of the canary. However long that takes, it is no loss.
// Each real loss is said at once.
func TestARenewedCanaryIsNoLoss(t *testing.T) {
	t.Parallel()
	memory := heal.NewQueueMemory(schematest.Open(t))
	address := servertest.Redis(t)
	redis, err := broker.Open(broker.Options{URL: address}, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = redis.Close() })
	queue := publish.New(redis)
	record, err := memory.Recall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	is, err := queue.Identify(t.Context(), record.Name)
	if err != nil {
		t.Fatal(err)
	}
	known := lost.QueueIdentity{}
	remember := func(canary, healed string) {
		next := is
		next.Canary = canary
		if err := memory.Remember(t.Context(), known, next, healed); err != nil {
			t.Fatal(err)
		}
		known = next
	}
	begin := func(canary, reason string) {
		if err := memory.BeginHeal(t.Context(), known, lost.Heal{Canary: canary, Reason: reason}); err != nil {
			t.Fatal(err)
		}
	}
	mark := func(canary string) {
		if err := queue.Mark(t.Context(), record.Name, canary); err != nil {
			t.Fatal(err)
		}
	}
	advance := func(from, to string) {
		if intact, err := queue.Advance(t.Context(), record.Name, from, to); err != nil || !intact {
			t.Fatal(intact, err)
		}
	}
	for _, step := range []struct {
		name string
		do   func()
		want string // how the reason begins; "": no loss
	}{
		{"first in Redis", func() { mark("a") }, ""},
		{"first in both", func() { remember("a", "") }, ""},
		{"renewed in PostgreSQL", func() { remember("b", "") }, ""},
		{"renewed in both", func() { advance("a", "b") }, ""},
		{"renewed again in PostgreSQL", func() { remember("c", "") }, ""},
		{"renewed again in both", func() { advance("b", "c") }, ""},
		{"an older state", func() { mark("a") }, "the canary in Redis is not the last one"},
		{"a heal begins", func() { begin("d", lost.QueueEmptied) }, "the canary in Redis is not the last one"},
		{"being healed", func() { mark("d") }, "Redis was emptied"},
		{"healed", func() { remember("d", "older data") }, ""},
		{"the state before the heal", func() { mark("c") }, "the canary in Redis is not the last one"},
		{"the last state", func() { mark("d") }, ""},
		{"emptied", func() { servertest.Client(t, address).FlushDB(t.Context()) }, "Redis was emptied"},
		{"emptied during a renewal", func() { remember("e", "") }, "Redis was emptied"},
		{"healed after PostgreSQL went back", func() { begin("f", lost.TimelineOther); mark("f") }, ""},
		{"emptied during that heal", func() { servertest.Client(t, address).FlushDB(t.Context()) }, "Redis was emptied"},
	} {
		step.do()
		reason := lookout.Loss(t.Context(), memory, queue)
		if !strings.HasPrefix(reason, step.want) || (reason == "") != (step.want == "") {
			t.Errorf("%s: it says %q, want %q", step.name, reason, step.want)
		}
	}
}

// A leader renews the canary in both servers during each look: after PostgreSQL's answer, and before Redis's.
func TestARenewalBetweenTwoAnswersIsNoLoss(t *testing.T) {
	t.Parallel()
	l := &leader{}
	if reason := lookout.Loss(t.Context(), l, l); reason != "" {
		t.Errorf("it says %q", reason)
	}
	if l.canary == 0 {
		t.Error("nobody looked")
	}
}

type leader struct{ canary byte }

func (l *leader) named() lost.QueueIdentity {
	return lost.QueueIdentity{Canary: string('a' + l.canary)}
}

func (l *leader) Recall(context.Context) (lost.QueueRecord, error) {
	return lost.QueueRecord{Identity: l.named()}, nil
}

func (l *leader) Identify(context.Context, string) (lost.QueueIdentity, error) {
	l.canary++
	return l.named(), nil
}
