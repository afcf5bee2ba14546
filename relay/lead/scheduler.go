package lead

import (
	"context"
	"log/slog"
	"time"

	"outboxd/domain"
	"outboxd/relay/pace"
)

const (
	// scheduleRetry is when the schedules are looked at again behind an error of the database.
	scheduleRetry = 15 * time.Second
	// scheduleMargin is what is slept beyond the time of a tick, so that it is due then.
	scheduleMargin = 5 * time.Millisecond
)

// scheduler emits the events of schedules. The leader does it, so that the others need
// not look; a leader that does not know that it is none any more does no harm.
type scheduler struct {
	schedules domain.Schedules
	log       *slog.Logger
	failing   *failing
	metrics   *metrics
	look      chan struct{} // a tick is near
}

// run looks at once, then again at each tick and when it is asked to, until ctx ends.
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
