package lead

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/domain/overview"
	"outboxd/domain/queued"
)

// Queues has what the leader needs to count the waiting tasks in Redis, for metrics and for outbox_samples.
type Queues struct {
	Overviews overview.QueueOverviews
	Failing   queued.FailingTasks
	// Receivers returns receivers to which workers deliver nothing at present, at most 1,000.
	Receivers func(ctx context.Context) ([]overview.ReceiverStatus, error)
	// Foreign returns the queues that only other programs use. The leader does not measure these queues. If Foreign
	// is nil, no such queue is known.
	Foreign func() []string
}

const (
	// queueSeries is how many queues have gauges of their own. failingSeries is how many pairs of type and queue
	// have their own gauge of failing tasks. All others are added up under the label "other".
	queueSeries   = 50
	failingSeries = 50
	otherLabel    = "other"
	// queuePatience bounds one look.
	queuePatience = 5 * time.Second
)

// watchQueues reads the state of the queues. If reading fails, or during an outage, the
// gauges are absent.
func (l *Leader) watchQueues(ctx context.Context) {
	if l.duties.Queues == nil || l.unusable() {
		l.metrics.queues.forget()
		return
	}
	look, cancel := context.WithTimeout(ctx, queuePatience)
	defer cancel()
	seen, err := l.duties.Queues.look(look)
	if err != nil {
		l.metrics.queues.forget()
		if ctx.Err() == nil {
			l.log.Debug("could not measure the queues", "retry_in", queuesEvery, "error", err)
		}
		return
	}
	l.metrics.queues.set(seen)
}

// inQueues is what one look saw.
type inQueues struct {
	queues    []overview.QueueStatus
	workers   []overview.WorkerStatus
	failing   queued.FailingSummary
	receivers []overview.ReceiverStatus
	at        time.Time
}

func (q *Queues) look(ctx context.Context) (seen inQueues, err error) {
	if seen.queues, err = q.Overviews.Queues(ctx); err != nil {
		return seen, err
	}
	if seen.workers, err = q.Overviews.Workers(ctx); err != nil {
		return seen, err
	}
	if slices.ContainsFunc(seen.queues, func(q overview.QueueStatus) bool { return q.Retry > 0 }) {
		if seen.failing, err = q.Failing.Summary(ctx); err != nil {
			return seen, err
		}
	}
	seen.at = time.Now()
	if q.Foreign != nil {
		foreign := q.Foreign()
		seen.queues = slices.DeleteFunc(seen.queues, func(q overview.QueueStatus) bool { return slices.Contains(foreign, q.Name) })
		seen.failing.Groups = slices.DeleteFunc(seen.failing.Groups, func(g queued.FailingGroup) bool { return slices.Contains(foreign, g.Queue) })
	}
	seen.receivers, err = q.Receivers(ctx)
	return seen, err
}

// queueGauges are the gauges of tasks and workers in Redis. The gauges exist only while this process is the leader
// and Redis answers. They are safe for concurrent use.
type queueGauges struct {
	tasks, oldest, workers, failing, down *prometheus.Desc

	mu   sync.Mutex
	seen *inQueues // nil: not known
}

func newQueueGauges() *queueGauges {
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help+" From the leader only; absent while Redis does not answer.", labels, nil)
	}
	return &queueGauges{
		tasks:   describe("outboxd_relay_queue_tasks", "Tasks in Redis by queue and state: pending, active, scheduled, retry or archived. Beyond the 50 largest queues the label is \"other\".", "queue", "state"),
		oldest:  describe("outboxd_relay_queue_oldest_age_seconds", "How long the oldest pending or failing task of a queue has waited.", "queue"),
		workers: describe("outboxd_relay_workers", "Workers that gave Redis a sign of life; a process may have several."),
		failing: describe("outboxd_relay_failing_tasks", "Tasks that failed and wait to be tried again, by type and queue. Beyond 50 series the labels are \"other\"; above 2,000 in a queue an estimate.", "type", "queue"),
		down:    describe("outboxd_relay_receiver_down", "1 for each subscription whose receiver is down and which is not paused.", "subscription"),
	}
}

func (g *queueGauges) set(seen inQueues) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen = &seen
}

func (g *queueGauges) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen = nil
}

// waiting returns how many tasks wait for a worker or for a retry; nil means that it is not known.
func (g *queueGauges) waiting() *int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.seen == nil {
		return nil
	}
	var n int64
	for _, q := range g.seen.queues {
		n += q.Pending + q.Retry
	}
	return &n
}

// byQueue returns, by queue, how many tasks wait in the largest queues, and under the label "other" in all others. The
// map is empty if that is not known.
func (g *queueGauges) byQueue() map[string]int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	waiting := map[string]int64{}
	if g.seen == nil {
		return waiting
	}
	for _, q := range largestQueues(g.seen.queues) {
		waiting[q.Name] += q.Pending + q.Retry
	}
	return waiting
}

// Describe implements prometheus.Collector.
func (g *queueGauges) Describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{g.tasks, g.oldest, g.workers, g.failing, g.down} {
		descriptions <- d
	}
}

// Collect implements prometheus.Collector.
func (g *queueGauges) Collect(values chan<- prometheus.Metric) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.seen == nil {
		return
	}
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		labels = slices.Clone(labels)
		for i := range labels {
			labels[i] = strings.ToValidUTF8(labels[i], "\uFFFD")
		}
		values <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	gauge(g.workers, float64(len(g.seen.workers)))
	for _, q := range largestQueues(g.seen.queues) {
		for state, n := range map[string]int64{"pending": q.Pending, "active": q.Active, "scheduled": q.Scheduled, "retry": q.Retry, "archived": q.Archived} {
			gauge(g.tasks, float64(n), q.Name, state)
		}
		oldest := 0.0
		if !q.OldestAt.IsZero() {
			oldest = max(g.seen.at.Sub(q.OldestAt), 0).Seconds()
		}
		gauge(g.oldest, oldest, q.Name)
	}
	for at, n := range failingByType(g.seen.failing) {
		gauge(g.failing, float64(n), at.kind, at.queue)
	}
	for _, r := range g.seen.receivers {
		if r.Down != nil && !r.Paused && !r.Removed {
			gauge(g.down, 1, r.Subscription)
		}
	}
}

// largestQueues returns the largest queues, and adds up all others under the label "other".
func largestQueues(queues []overview.QueueStatus) []overview.QueueStatus {
	if len(queues) <= queueSeries {
		return queues
	}
	queues = slices.Clone(queues)
	size := func(q overview.QueueStatus) int64 { return q.Unfinished() + q.Archived }
	slices.SortStableFunc(queues, func(a, b overview.QueueStatus) int { return cmp.Compare(size(b), size(a)) })
	other := overview.QueueStatus{Name: otherLabel}
	for _, q := range queues[queueSeries:] {
		other.Pending, other.Active, other.Scheduled = other.Pending+q.Pending, other.Active+q.Active, other.Scheduled+q.Scheduled
		other.Retry, other.Archived = other.Retry+q.Retry, other.Archived+q.Archived
		if other.OldestAt.IsZero() || !q.OldestAt.IsZero() && q.OldestAt.Before(other.OldestAt) {
			other.OldestAt = q.OldestAt
		}
	}
	return append(queues[:queueSeries], other)
}

type typeInQueue struct{ kind, queue string }

// failingByType adds up the groups of failing tasks by type and queue. The largest group must come first.
func failingByType(s queued.FailingSummary) map[typeInQueue]int64 {
	tasks := map[typeInQueue]int64{}
	for _, g := range s.Groups {
		at := typeInQueue{g.Type, g.Queue}
		if _, known := tasks[at]; !known && len(tasks) >= failingSeries {
			at = typeInQueue{otherLabel, otherLabel}
		}
		tasks[at] += g.Tasks
	}
	return tasks
}
