// Package events has the commands on events: list, show, emit, cancel, reschedule, erase, correct, retry, give up,
// export.
package events

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
	"outboxd/config"
	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/domain/queued"
	"outboxd/domain/words"
	"outboxd/jobs/broker"
	"outboxd/jobs/lookup"
	"outboxd/repository/reading"
)

// New returns the command events.
func New(c cli.Commands) *cobra.Command {
	return cli.Group("events", "List, show, export, emit, correct, retry, give up, cancel, reschedule or erase events", "",
		newEventsListCommand(c), newEventsShowCommand(c), newEventsEmitCommand(c), newEventsExportCommand(c), newEventsCorrectCommand(c), newEventsRetryCommand(c), newEventsGiveUpCommand(c), newEventsCancelCommand(c), newEventsRescheduleCommand(c), newEventsEraseCommand(c))
}

// queuePatience bounds how long Redis may take to answer. Without an answer the
// command shows only what PostgreSQL knows.
const queuePatience = 5 * time.Second

func newEventsShowCommand(c cli.Commands) *cobra.Command {
	var out terminal.Output
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show the whole life of one event, from PostgreSQL and from Redis",
		Long: `Show the whole life of one event: when it was emitted, each refusal and failure, its task in Redis, its
confirmation, its deaths and replays, what it waits for, and its deliveries to subscriptions. The ID
may be that of the event or of its task.`,
		Example: "  outboxd events show 01980000-0000-7000-8000-000000000000",
		Args:    cli.OneArgument("one event ID"),
	}
	out.AddFlag(cmd)
	// The command needs PostgreSQL and Redis, as a relay does.
	cmd.RunE = c.WithServers(config.RoleRelay, &out, c.Looking(func(cmd *cobra.Command, args []string, o *cli.Opened) error {
		ids, err := cli.EventIDs(args)
		if err != nil {
			return err
		}
		life, err := reading.NewLives(o.Reads).Find(cmd.Context(), ids[0])
		if err != nil {
			return err
		}
		tasks, deliveryTasks, err := findTasks(cmd.Context(), o, life)
		document := NewEventDocument(life, tasks)
		document.Deliveries = newDeliveryDocuments(life.Deliveries, deliveryTasks)
		if err != nil {
			document.QueueError = err.Error()
		}
		return out.Write(cmd.OutOrStdout(), document, func(w io.Writer) { EventTable(w, &document) })
	}))
	return cmd
}

// findTasks returns the tasks of an event and those of its deliveries. The tasks of the event are not nil if Redis
// answered.
func findTasks(ctx context.Context, o *cli.Opened, life *lives.Life) ([]queued.TaskState, map[domain.ID][]queued.TaskState, error) {
	broker.BridgeLog(o.Log)
	redis, err := o.Servers.OpenRedis(cli.RedisConnections)
	if err != nil {
		return nil, nil, err
	}
	defer redis.Close()
	ctx, cancel := context.WithTimeout(ctx, queuePatience)
	defer cancel()
	queue := lookup.New(redis)
	tasks, err := queue.Tasks(ctx, life.LastKnown())
	if err != nil {
		return nil, nil, err
	}
	deliveries, err := lives.DeliveryTasks(ctx, queue, life.Deliveries)
	return append([]queued.TaskState{}, tasks...), deliveries, err
}

// EventDocument is what is known about one event, in JSON and YAML. It has only the
// beginning of a long payload.
type EventDocument struct {
	ID           domain.ID          `json:"id"`
	State        lives.State        `json:"state"`
	Description  string             `json:"description"` // of the state: a sentence
	Type         string             `json:"type,omitempty"`
	Queue        string             `json:"queue,omitempty"`
	OrderingKey  string             `json:"ordering_key,omitempty"`
	Generation   int                `json:"generation"`
	Attempts     int                `json:"attempts"`
	MaxRetry     *int               `json:"max_retry,omitempty"` // missing: not known, or the event leaves it to Asynq, which tries again 25 times
	Headers      map[string]string  `json:"headers,omitempty"`
	Payload      string             `json:"payload,omitempty"`
	PayloadBytes int                `json:"payload_bytes"`
	Dead         *DeadDocument      `json:"dead,omitempty"`
	Tasks        []taskDocument     `json:"tasks,omitzero"`        // in Redis; missing: not known
	QueueError   string             `json:"queue_error,omitempty"` // why the tasks are not known
	Timeline     []timelineDocument `json:"timeline"`
	OriginID     *domain.ID         `json:"origin_id,omitempty"` // of a delivery: the event that it delivers
	Subscription string             `json:"subscription,omitempty"`
	Deliveries   []deliveryDocument `json:"deliveries,omitempty"`

	retries string // in words
}

type taskDocument struct {
	ID        string     `json:"id"`
	Queue     string     `json:"queue"`
	State     string     `json:"state"`
	Retried   int        `json:"retried"`
	MaxRetry  int        `json:"max_retry"`
	LastError string     `json:"last_error,omitempty"`
	NextAt    *time.Time `json:"next_at,omitempty"`

	retries string // in words
	old     bool   // of a generation before the event's last one
}

type timelineDocument struct {
	At     time.Time `json:"at"`
	What   string    `json:"what"`
	Detail string    `json:"detail,omitempty"`

	title       string // what happened, for people
	toTheSecond bool   // At is cut to whole seconds
}

// when formats the time of a step in UTC: with milliseconds, unless they are not known.
func (d timelineDocument) when() string {
	if d.toTheSecond {
		return d.At.Format(time.DateTime)
	}
	return d.At.Format(time.DateTime + ".000")
}

func newTimelineDocument(life *lives.Life, tasks []queued.TaskState) []timelineDocument {
	var steps []timelineDocument
	for _, step := range life.Timeline(tasks) {
		steps = append(steps, timelineDocument{step.At.UTC(), step.What, step.Detail, step.Title(), step.ToTheSecond})
	}
	return steps
}

// NewEventDocument converts an event and its tasks. nil: nobody looked for tasks.
func NewEventDocument(life *lives.Life, tasks []queued.TaskState) EventDocument {
	d := EventDocument{
		ID: life.ID, State: life.StateWith(tasks), Description: life.Describe(tasks, time.Now()), Type: life.Type, Queue: life.Queue, OrderingKey: life.OrderingKey,
		Generation: life.Generation, Attempts: life.Attempts, MaxRetry: life.Options.MaxRetry, retries: life.Retries(), Headers: life.Headers, Payload: payloadText(life.Payload), PayloadBytes: len(life.Payload),
		Timeline: newTimelineDocument(life, tasks),
	}
	if tasks != nil {
		d.Tasks = []taskDocument{}
	}
	if life.Subscription != "" {
		d.Subscription, d.OriginID = life.Subscription, &life.Origin
	}
	for _, t := range tasks {
		task := taskDocument{ID: t.TaskID, Queue: t.Queue, State: t.State, Retried: t.Retried, MaxRetry: t.MaxRetry, LastError: t.LastError, retries: t.Retries(), old: t.TaskID != life.LastKnown().TaskID()}
		if !t.NextAt.IsZero() {
			task.NextAt = new(t.NextAt.UTC())
		}
		d.Tasks = append(d.Tasks, task)
	}
	return d
}

// payloadShown is how many bytes of a payload are shown.
const payloadShown = 2000

// payloadText returns the beginning of a payload as text, or in hexadecimal if the payload
// is no text.
func payloadText(payload []byte) string {
	isText, cut := utf8.Valid(payload) && bytes.IndexByte(payload, 0) < 0, ""
	if len(payload) > payloadShown {
		payload, cut = payload[:payloadShown], "…"
	}
	if !isText {
		return fmt.Sprintf("%x%s", payload, cut)
	}
	return strings.ToValidUTF8(string(payload), "") + cut // the last character may be cut in two
}

// EventTable prints an event.
func EventTable(w io.Writer, d *EventDocument) {
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, terminal.OneLine(value, 0))
		}
	}
	row("Event", d.ID.String())
	row("State", d.Description)
	row("Type", d.Type)
	row("Queue", d.Queue)
	row("Ordering key", d.OrderingKey)
	if d.OriginID != nil {
		row("Delivers", fmt.Sprintf("event %s to subscription %s", d.OriginID, d.Subscription))
	}
	if d.Generation > 0 {
		row("Generation", fmt.Sprint(d.Generation))
	}
	row("Retries", d.retries)
	if d.Dead != nil {
		row("Attempts", fmt.Sprint(d.Dead.Attempts))
		row("First error", d.Dead.FirstError)
		row("Last error", d.Dead.Error)
	}
	for _, name := range slices.Sorted(maps.Keys(d.Headers)) {
		row("Header", name+": "+d.Headers[name])
	}
	if d.PayloadBytes > 0 {
		row("Payload", words.Many(d.PayloadBytes, "byte")+": "+d.Payload)
	}
	for _, t := range d.Tasks {
		task := fmt.Sprintf("%s in queue %s: %s, %s", t.ID, t.Queue, t.State, t.retries)
		if t.LastError != "" {
			task += ": " + t.LastError
		}
		name := "Task"
		if t.old {
			name = "Old task"
		}
		row(name, task)
	}
	row("Redis", d.QueueError)
	deliveriesTable(w, d.Deliveries)
	fmt.Fprintln(w)
	fmt.Fprintln(w, "TIME (UTC)\tWHAT\tDETAIL")
	for _, s := range d.Timeline {
		fmt.Fprintf(w, "%s\t%s\t%s\n", s.when(), s.title, terminal.OneLine(s.Detail, 120))
	}
}
