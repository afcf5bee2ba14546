package dashboard

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/access"
	"outboxd/domain/lives"
	"outboxd/domain/queued"
	"outboxd/domain/traceparent"
	"outboxd/handler/dashboard/masking"
)

// queuePatience is how long a page waits for an answer of Redis. Without an answer, the
// page of an event shows only what PostgreSQL knows.
const queuePatience = 3 * time.Second

// eventPage is the data of the page of one event.
type eventPage struct {
	Life       *lives.Life
	State      lives.State
	Says       string
	Steps      []timelineStep
	Tasks      []taskLine
	QueueFault string // why Tasks is not known; "" if it is
	Headers    []headerLine
	Payload    masking.Payload
	TraceID    string
	TraceURL   string // the address of the trace; "" if Sources.TraceURL is ""
	Deliveries []deliveryLine
	Error      string // the error that the page shows apart from the timeline
	Live       bool   // the event may still change, so the page is loaded again and again
}

// deliveryLine is a delivery of the event to a subscription.
type deliveryLine struct {
	lives.Delivery
	Says, Status string
	Next         time.Time
}

func deliveryLines(deliveries []lives.Delivery, tasks map[domain.ID][]queued.TaskState, now time.Time) []deliveryLine {
	lines := make([]deliveryLine, len(deliveries))
	for i, delivery := range deliveries {
		own := tasks[delivery.ID]
		lines[i] = deliveryLine{delivery, delivery.Describe(own, now), delivery.LastStatus(own), delivery.NextAt(own, now)}
	}
	return lines
}

type taskLine struct {
	queued.TaskState
	Address string // the address of Asynqmon's page of the task, relative to the first page
}

type headerLine struct{ Name, Value string }

// event serves the page of one event, with what PostgreSQL and Redis know about
// it.
func (d *Dashboard) event(c *fiber.Ctx) error {
	id, err := domain.EventID(c.Params("id"))
	if err != nil {
		return err
	}
	if d.o.Sources.Lives == nil {
		return errNoDatabase()
	}
	life, err := d.o.Sources.Lives.Find(c.UserContext(), id)
	if err != nil {
		return err
	}
	payload := d.mask.Show(life.Payload)
	if payload.Withheld && d.o.Visitor(c).May(access.Unmask) {
		payload = masking.Hexadecimal(life.Payload)
	}
	tasks, deliveries, fault := d.tasks(c.UserContext(), life)
	now := time.Now()
	p := eventPage{
		Life: life, State: life.StateWith(tasks), QueueFault: fault,
		Payload: payload, TraceID: traceparent.TraceID(life.Headers),
		Deliveries: deliveryLines(life.Deliveries, deliveries, now),
	}
	for _, t := range tasks {
		p.Tasks = append(p.Tasks, taskLine{t, "monitoring/tasks/queues/" + url.PathEscape(t.Queue) + "/tasks/" + url.PathEscape(t.TaskID)})
	}
	p.Error = p.shownError()
	p.Says = capital(strings.TrimSuffix(life.Describe(tasks, now), ": "+p.Error))
	p.Steps = timeline(life.Timeline(tasks), p.Error, now)
	switch p.State {
	case lives.StatePending, lives.StateHeld, lives.StateInFlight, lives.StateFailing:
		p.Live = true
	default:
	}
	for _, name := range slices.Sorted(maps.Keys(life.Headers)) {
		value := life.Headers[name]
		if d.mask.Hides(name) {
			value = masking.Hidden
		}
		p.Headers = append(p.Headers, headerLine{name, value})
	}
	if p.TraceID != "" && d.o.Sources.TraceURL != "" {
		p.TraceURL = strings.ReplaceAll(d.o.Sources.TraceURL, "{trace_id}", p.TraceID)
	}
	return d.Render(c, Page{Template: "event", Title: "Event " + id.String(), Section: SectionEvents, Data: p})
}

// tasks reads the tasks of the event and of its deliveries from Redis. If there is no
// answer, the result fault says why.
func (d *Dashboard) tasks(ctx context.Context, life *lives.Life) (tasks []queued.TaskState, deliveries map[domain.ID][]queued.TaskState, fault string) {
	if d.o.Sources.Tasks == nil {
		return nil, nil, "this process has no Redis to ask"
	}
	ctx, cancel := context.WithTimeout(ctx, queuePatience)
	defer cancel()
	tasks, err := d.o.Sources.Tasks.Tasks(ctx, life.LastKnown())
	if err == nil {
		deliveries, err = lives.DeliveryTasks(ctx, d.o.Sources.Tasks, life.Deliveries)
	}
	if err != nil {
		return nil, nil, "Redis does not answer, so what it knows of the event's task is not shown"
	}
	return tasks, deliveries, ""
}

// tone returns the class of the style sheet that colours a step of the timeline.
// The page also says in words what the colour means.
func tone(what string) string {
	switch word, _, _ := strings.Cut(what, " "); word {
	case "confirmed", "completed":
		return "good"
	case "refused", "failed", "held", "redriven", "replayed", "suppressed", "cancelled", "rescheduled", "corrected", "requested", "too", "retried":
		return "warn"
	case "died", "discarded", "erased", "given":
		return "bad"
	default:
		return ""
	}
}
