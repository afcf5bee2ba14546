package lead

import (
	"context"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/client/outage"
	"outboxd/domain"
)

// duty names a part of the leader's work, as in the label of the metric.
type duty string

const (
	dutyHeal    duty = "heal"
	dutyMeasure duty = "measure"
	dutyUpkeep  duty = "upkeep"
	dutyKeys    duty = "keys"
	dutyFold    duty = "fold"
	dutyTidy    duty = "tidy"
	dutyTypes   duty = "types"

	dutyAcknowledge duty = "acknowledge"
	dutyCancelled   duty = "cancelled"
	dutyChanges     duty = "changes"
	dutyReplay      duty = "replay"
	dutySchedules   duty = "schedules"
)

// duties has for each duty a text that completes "the leader cannot …".
var duties = map[duty]string{
	dutyHeal:    "look whether Redis has kept its data, or send again what it may have lost",
	dutyMeasure: "measure the backlog",
	dutyUpkeep:  "look at the tables' upkeep",
	dutyKeys:    "look after ordering keys",
	dutyFold:    "fold the account of events",
	dutyTidy:    "keep the partitions and trim",
	dutyTypes:   "measure types and queues",

	dutyAcknowledge: "confirm what consumers with another database acknowledged",
	dutyCancelled:   "delete the tasks of events that were taken back",
	dutyChanges:     "cancel or reschedule what producers asked for",
	dutyReplay:      "go on with a replay to a subscription",
	dutySchedules:   "emit the events of schedules",
}

// failing records in the database which duties of the leader fail, so that all processes can show them. It is safe
// for concurrent use.
type failing struct {
	store    domain.Housekeeping
	log      *slog.Logger
	gauge    *prometheus.GaugeVec
	unusable func() bool // reports whether the relay has stopped using PostgreSQL or Redis because of an outage

	mu    sync.Mutex
	known map[duty]string
}

func newFailing(store domain.Housekeeping, gauge *prometheus.GaugeVec, unusable func() bool, log *slog.Logger) *failing {
	f := &failing{store: store, log: log, gauge: gauge, unusable: unusable}
	f.end()
	return f
}

// begin is called when this process starts leading, and deletes the recorded failures of the previous leader.
func (f *failing) begin(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known = map[duty]string{}
	f.record(ctx, "", nil)
}

// end is called when this process stops leading, and resets the metric.
func (f *failing) end() {
	for part := range duties {
		f.gauge.WithLabelValues(string(part)).Set(0)
	}
}

// note is called with the error of a duty, or nil. note writes to the database only if the text of the error
// differs from the recorded one. An outage changes nothing: the duty is what it was before, failing or not.
func (f *failing) note(ctx context.Context, part duty, err error) {
	if ctx.Err() != nil || f.isOutage(err) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	text, fails := "", 0.0
	if err != nil {
		text, fails = err.Error(), 1
	}
	f.gauge.WithLabelValues(string(part)).Set(fails)
	if f.known[part] != text && f.record(ctx, duties[part], err) {
		f.known[part] = text
	}
}

// isOutage reports whether err comes from an outage, which is reported elsewhere: the relay has stopped using
// PostgreSQL or Redis, or Redis answered that it serves nobody at present. An error that PostgreSQL itself returned
// is no outage here: PostgreSQL can be reached, and the duty fails.
func (f *failing) isOutage(err error) bool {
	if domain.ErrorCode(err) != domain.CodeUnavailable || outage.State(err) != "" {
		return false
	}
	finding, _ := domain.FindingOf(err)
	return finding.Outage || f.unusable()
}

// isRefused reports whether Redis works, but refuses what only a duty needs, such as a command for which its user has no
// right.
func isRefused(err error) bool {
	finding, known := domain.FindingOf(err)
	return known && !finding.Outage && finding.Code != domain.CodeRedisUnreachable
}

func (f *failing) record(ctx context.Context, work string, cause error) bool {
	err := f.store.Failing(ctx, work, cause)
	if err != nil && ctx.Err() == nil {
		f.log.Debug("could not record which duty fails", "work", work, "error", err)
	}
	return err == nil
}
