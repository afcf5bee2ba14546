package lead

import (
	"context"
	"log/slog"
	"time"

	"outboxd/domain"
	"outboxd/domain/setup"
	"outboxd/relay/pace"
)

const (
	// scheduleRetry is the longest pause after an error of Tick, and the pause if Tick does not know the time of
	// the next tick.
	scheduleRetry = 15 * time.Second
	// scheduleMargin is added to the pause until the next tick, so that the tick is certainly due.
	scheduleMargin = 5 * time.Millisecond
)

// scheduler emits the events of schedules. scheduler runs in the leader, so that the other relays need not read the
// schedules. A former leader that has not noticed yet that another relay leads does no harm: each tick is emitted
// only once.
type scheduler struct {
	schedules setup.Schedules
	log       *slog.Logger
	failing   *failing
	metrics   *metrics
	look      chan struct{} // raised when a tick is near
}

// run emits due ticks at once, then at each tick and when look is raised, until ctx ends.
func (s *scheduler) run(ctx context.Context, leads domain.StillLeads) {
	defer s.metrics.lateness.Set(0)
	for leads(ctx) == nil {
		pause := scheduleRetry
		ticks, err := s.schedules.Tick(ctx)
		if ticks.Next > 0 {
			pause = ticks.Next + scheduleMargin
		}
		if err != nil {
			pause = min(pause, scheduleRetry)
		}
		s.failing.note(ctx, dutySchedules, err)
		if err != nil && ctx.Err() == nil {
			s.log.Warn("could not emit the events of a schedule", "retry_in", pause, "error", err)
		}
		s.metrics.ticks.WithLabelValues("emitted").Add(float64(ticks.Emitted))
		s.metrics.ticks.WithLabelValues("left_out").Add(float64(ticks.LeftOut))
		s.metrics.lateness.Set(ticks.Lateness.Seconds())
		if ticks.LeftOut > 0 {
			s.log.Warn("ticks of schedules were missed, and are left out as their rules say", "ticks", ticks.LeftOut)
		}
		if err != nil {
			pace.Wait(ctx, pause)
		} else {
			pace.WaitOr(ctx, pause, s.look)
		}
		if ctx.Err() != nil {
			return
		}
	}
}
