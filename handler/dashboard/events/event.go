package events

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
	"outboxd/handler/dashboard/shell"
	"outboxd/handler/dashboard/show"
)

// eventPage is the data of the page of one event.
type eventPage struct {
	Life       *lives.Life
	State      lives.State
	Says       string
	Steps      []timelineStep
	Tasks      []taskLine
	QueueFault string // why the tasks are not known; "" if they are
	Headers    []headerLine
	Payload    masking.Payload
	TraceID    string
	TraceURL   string // the address of the trace; "" if Pages.TraceURL is ""
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
	Address string // the address of Asynqmon's page of the task, as an argument of View.To
}

type headerLine struct{ Name, Value string }

// event serves the page of one event, with what PostgreSQL and Redis know about
// it.
func (p *Pages) event(c *fiber.Ctx) error {
	id, err := domain.EventID(c.Params("id"))
	if err != nil {
		return err
	}
	if p.Lives == nil {
		return shell.NoDatabase()
	}
	life, err := p.Lives.Find(c.UserContext(), id)
	if err != nil {
		return err
	}
	payload := p.Mask.Show(life.Payload)
	if payload.Withheld && p.Visitor(c).May(access.Unmask) {
		payload = masking.Hexadecimal(life.Payload)
	}
	tasks, deliveries, fault := p.tasks(c.UserContext(), life)
	now := time.Now()
	page := eventPage{
		Life: life, State: life.StateWith(tasks), QueueFault: fault,
		Payload: payload, TraceID: traceparent.TraceID(life.Headers),
		Deliveries: deliveryLines(life.Deliveries, deliveries, now),
	}
	for _, t := range tasks {
		page.Tasks = append(page.Tasks, taskLine{t, "monitoring/tasks/queues/" + url.PathEscape(t.Queue) + "/tasks/" + url.PathEscape(t.TaskID)})
	}
	page.Error = page.shownError()
	page.Says = show.Capital(strings.TrimSuffix(life.Describe(tasks, now), ": "+page.Error))
	page.Steps = timeline(life.Timeline(tasks), page.Error, now)
	switch page.State {
	case lives.StatePending, lives.StateHeld, lives.StateInFlight, lives.StateFailing:
		page.Live = true
	default:
	}
	for _, name := range slices.Sorted(maps.Keys(life.Headers)) {
		value := life.Headers[name]
		if p.Mask.Hides(name) {
			value = masking.Hidden
		}
		page.Headers = append(page.Headers, headerLine{name, value})
	}
	if page.TraceID != "" && p.TraceURL != "" {
		page.TraceURL = strings.ReplaceAll(p.TraceURL, "{trace_id}", page.TraceID)
	}
	return p.Render(c, shell.Page{Template: "event", Title: "Event " + id.String(), Section: shell.SectionEvents, Data: page})
}

// tasks reads the tasks of the event and of its deliveries from Redis. If there is no
// answer, the result fault says why.
func (p *Pages) tasks(ctx context.Context, life *lives.Life) (tasks []queued.TaskState, deliveries map[domain.ID][]queued.TaskState, fault string) {
	if p.Tasks == nil {
		return nil, nil, "this process has no Redis to ask"
	}
	ctx, cancel := context.WithTimeout(ctx, queuePatience)
	defer cancel()
	tasks, err := p.Tasks.Tasks(ctx, life.LastKnown())
	if err == nil {
		deliveries, err = lives.DeliveryTasks(ctx, p.Tasks, life.Deliveries)
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
