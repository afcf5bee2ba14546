package setups

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
	"outboxd/domain/setup"
	"outboxd/domain/words"
	"outboxd/migrations"
	"outboxd/repository/schedules"
)

// NewSchedules returns the command schedules.
func NewSchedules(c cli.Commands) *cobra.Command {
	k := kind{
		noun: "schedule", example: "nightly-report --yes --reason 'the report moves'",
		open: func(o *cli.Opened) store { return schedules.New(o.DB) },
		find: func(ctx context.Context, o *cli.Opened, name string) error {
			_, err := schedules.New(o.DB).Find(ctx, name)
			return err
		},
	}
	return k.group(c, "Say which events are emitted again and again, and when",
		[]*cobra.Command{newSchedulesApplyCommand(c), newSchedulesListCommand(c), newSchedulesShowCommand(c)},
		change{"pause", "paused", "Stop a schedule; its ticks are missed until it is resumed", "", store.Pause},
		change{"resume", "resumed", "Let a schedule go on", "", store.Resume},
		change{"remove", "removed", "Remove a schedule; events that it emitted stay", "", store.Remove})
}

// ScheduleDocument is a schedule in JSON and YAML.
type ScheduleDocument struct {
	Name      string            `json:"name"`
	State     string            `json:"state"` // active, paused or failing
	Cron      string            `json:"cron"`
	TimeZone  string            `json:"time_zone"`
	Missed    setup.MissedRule  `json:"missed"`
	Type      string            `json:"type"`
	Payload   json.RawMessage   `json:"payload"`
	Headers   map[string]string `json:"headers,omitempty"`
	Queue     string            `json:"queue"`
	Key       string            `json:"key,omitempty"`
	MaxRetry  *int              `json:"max_retry,omitempty"`
	Timeout   string            `json:"timeout,omitempty"`
	Retention string            `json:"retention,omitempty"`
	Unique    string            `json:"unique,omitempty"`
	Next      time.Time         `json:"next"`
	Last      *time.Time        `json:"last,omitempty"` // the last tick that was emitted or left out
	Emitted   int64             `json:"emitted"`
	LeftOut   int64             `json:"left_out"` // missed ticks without an event
	Error     string            `json:"error,omitempty"`
	FailedAt  *time.Time        `json:"failed_at,omitempty"`
	Paused    *setup.Pause      `json:"paused,omitempty"`
	CreatedAt time.Time         `json:"created_at"`
	ChangedAt time.Time         `json:"changed_at"`
}

func newScheduleDocument(s *setup.Schedule) ScheduleDocument {
	e, o := &s.Event, &s.Event.Options
	d := ScheduleDocument{
		Name: s.Name, State: s.State(), Cron: s.Cron, TimeZone: s.TimeZone, Missed: s.Missed, Type: e.Type, Payload: e.Payload, Headers: e.Headers, Queue: e.Queue,
		Key: e.OrderingKey, MaxRetry: o.MaxRetry, Next: s.Next.UTC(), Emitted: s.Emitted, LeftOut: s.LeftOut, Error: s.Error, Paused: s.Paused,
		CreatedAt: s.CreatedAt.UTC(), ChangedAt: s.ChangedAt.UTC(),
	}
	if !json.Valid(e.Payload) {
		d.Payload, _ = json.Marshal(e.Payload)
	}
	for _, option := range []struct {
		into  *string
		value time.Duration
	}{{&d.Timeout, o.Timeout}, {&d.Retention, o.Retention}, {&d.Unique, o.Unique}} {
		if option.value > 0 {
			*option.into = option.value.String()
		}
	}
	if !s.Last.IsZero() {
		d.Last = new(s.Last.UTC())
	}
	if !s.FailedAt.IsZero() {
		d.FailedAt = new(s.FailedAt.UTC())
	}
	return d
}

func newSchedulesApplyCommand(c cli.Commands) *cobra.Command {
	var flags applyFlags
	return flags.command(c, "schedules", `Add the schedules of a YAML file that do not exist, and change those that differ. If one is wrong,
nothing is changed. Schedules that the file does not name stay as they are. A paused schedule stays
paused. A new schedule has its first tick after now. Without --yes the file is only checked.`,
		func(cmd *cobra.Command, o *cli.Opened) error {
			list, err := schedulesIn(cmd, flags.file)
			if err != nil {
				return err
			}
			limit, err := migrations.PayloadLimit(cmd.Context(), o.DB.SQL())
			if err != nil {
				return err
			}
			if err := setup.CheckSizes(list, limit); err != nil {
				return err
			}
			if err := flags.consent(len(list), "schedules"); err != nil {
				return err
			}
			changes, err := schedules.New(o.DB).Apply(cmd.Context(), flags.action(), list)
			if err != nil {
				return err
			}
			applied := make([]AppliedDocument, len(list))
			for i := range list {
				applied[i] = AppliedDocument{Name: list[i].Name, Change: changes[i]}
			}
			return flags.write(cmd, applied)
		})
}

func schedulesIn(cmd *cobra.Command, file string) ([]setup.Schedule, error) {
	return readNamed(cmd, file, "schedules.yaml", readSchedules)
}

// SchedulesDocument is the result of schedules list.
type SchedulesDocument struct {
	Schedules []ScheduleDocument `json:"schedules"`
}

func newSchedulesListCommand(c cli.Commands) *cobra.Command {
	list := func(ctx context.Context, o *cli.Opened) ([]setup.Schedule, error) {
		return schedules.New(o.DB).List(ctx)
	}
	whole := func(documents []ScheduleDocument) any { return SchedulesDocument{documents} }
	return listCommand(c, "schedules", list, newScheduleDocument, whole, func(w io.Writer, documents []ScheduleDocument) {
		fmt.Fprintln(w, "NAME\tSTATE\tCRON\tTIME ZONE\tTYPE\tNEXT\tEMITTED\tLEFT OUT")
		for _, d := range documents {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.Name, d.State, terminal.OneLine(d.Cron, 40), d.TimeZone, terminal.OneLine(d.Type, 40), d.Next.Format(time.RFC3339), words.Count(d.Emitted), words.Count(d.LeftOut))
		}
	})
}

func newSchedulesShowCommand(c cli.Commands) *cobra.Command {
	return showCommand(c, "schedule", "nightly-report", func(ctx context.Context, o *cli.Opened, name string) (d ScheduleDocument, err error) {
		found, err := schedules.New(o.DB).Find(ctx, name)
		if err != nil {
			return d, err
		}
		return newScheduleDocument(found), nil
	}, scheduleTable)
}

func scheduleTable(w io.Writer, d *ScheduleDocument) {
	fmt.Fprintf(w, "Name\t%s\nState\t%s\nCron\t%s\nTime zone\t%s\nMissed ticks\t%s\nType\t%s\nQueue\t%s\n", d.Name, d.State, terminal.OneLine(d.Cron, 100), d.TimeZone, d.Missed, terminal.OneLine(d.Type, 100), terminal.OneLine(d.Queue, 100))
	if d.Key != "" {
		fmt.Fprintf(w, "Ordering key\t%s\n", terminal.OneLine(d.Key, 100))
	}
	fmt.Fprintf(w, "Payload\t%s\n", terminal.OneLine(string(d.Payload), 200))
	fmt.Fprintf(w, "Next\t%s\n", d.Next.Format(time.RFC3339))
	if d.Last != nil {
		fmt.Fprintf(w, "Last\t%s\n", d.Last.Format(time.RFC3339))
	}
	fmt.Fprintf(w, "Emitted\t%s\nLeft out\t%s\n", words.Count(d.Emitted), words.Count(d.LeftOut))
	if d.Error != "" {
		fmt.Fprintf(w, "Error\t%s\n", terminal.OneLine(d.Error, 300))
	}
	if d.Paused != nil {
		fmt.Fprintf(w, "Paused\tsince %s by %s: %s\n", d.Paused.Since.UTC().Format(time.RFC3339), terminal.OneLine(d.Paused.By, 100), terminal.OneLine(d.Paused.Reason, 300))
	}
}
