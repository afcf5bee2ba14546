package work_test

import (
	"context"
	"testing"

	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/jobs/work"
)

// A subscription is removed while the process goes on. Its worker leaves no time series behind.
func TestAWorkerThatEndsForGoodLeavesNoSeries(t *testing.T) {
	t.Parallel()
	s := newShop(t, servertest.Redis(t), nil)
	s.options.Any, s.options.Name = func(_ context.Context, task work.Task) (work.Record, error) { return note(task), nil }, "default"
	worker := work.New(s.options)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	s.enqueue("any", domain.ID{1, 15: 1}.String(), nil)
	servertest.Eventually(t, "the task is done", func() bool { return s.outcomes("default", "done") == 1 })
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	worker.Forget()
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if len(m.GetLabel()) > 0 {
				t.Errorf("%s%v is left", family.GetName(), m.GetLabel())
			}
		}
	}
}
