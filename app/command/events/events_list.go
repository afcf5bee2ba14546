package events

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
	"outboxd/config"
	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/domain/queued"
	"outboxd/domain/words"
	"outboxd/repository/reading"
)

// listedEvent is one event of the list, in JSON and YAML.
type listedEvent struct {
	ID           domain.ID        `json:"id"`
	Type         string           `json:"type"`
	Queue        string           `json:"queue"`
	OrderingKey  string           `json:"ordering_key,omitempty"`
	State        lives.State      `json:"state"`
	CreatedAt    time.Time        `json:"created_at"`
	Since        time.Time        `json:"since"` // when it came into its state; pending: when it is due
	Attempts     int              `json:"attempts"`
	Generation   int              `json:"generation"`
	Error        string           `json:"error,omitempty"`
	PayloadBytes int              `json:"payload_bytes"`
	WaitsFor     *domain.ID       `json:"waits_for,omitempty"`
	Failing      *failingDocument `json:"failing,omitempty"`

	replaying bool
}

// failingDocument has the attempts of a failing event.
type failingDocument struct {
	Failed    int        `json:"failed_attempts"`
	Attempts  int        `json:"attempts,omitempty"` // altogether; 0: not known
	NextAt    *time.Time `json:"next_at,omitempty"`
	Unhandled bool       `json:"unhandled"` // the worker that took the task has no handler for it

	says string
}

func newFailingDocument(t *queued.FailingTask) *failingDocument {
	if t == nil {
		return nil
	}
	d := &failingDocument{Failed: t.Failed, Attempts: t.Attempts, Unhandled: t.Unhandled, says: strings.TrimPrefix(t.Describe(), "failing: ")}
	if !t.NextAt.IsZero() {
		d.NextAt = new(t.NextAt.UTC())
	}
	return d
}

// EventListDocument is the result of events list.
type EventListDocument struct {
	Events []listedEvent `json:"events"`
	// Next is the value of --after for the next page. Without it there is no further page.
	Next *domain.ID `json:"next,omitempty"`
	// GaveUp is true if the search stopped early, because it took too long or had read as
	// many events as one search may read. There may be more matching events.
	GaveUp   bool `json:"gave_up"`
	Examined int  `json:"examined"`
	// Incomplete is true if a queue has more failing tasks than one search reads, 50,000.
	// The events of the tasks that were not read are on no page.
	Incomplete bool `json:"incomplete,omitempty"`
	// QueueError says why Redis could not be asked. Without Redis, failing events
	// are shown as in flight.
	QueueError string `json:"queue_error,omitempty"`

	missing string // as lives.Page.Missing says it
}

func newEventListDocument(page *lives.Page) EventListDocument {
	document := EventListDocument{Events: []listedEvent{}, GaveUp: page.GaveUp, Examined: page.Examined, Incomplete: page.Incomplete, QueueError: page.QueueFault, missing: page.Missing()}
	for i := range page.Events {
		e := &page.Events[i]
		listed := listedEvent{
			ID: e.ID, Type: e.Type, Queue: e.Queue, OrderingKey: e.OrderingKey, State: e.State, CreatedAt: e.CreatedAt.UTC(), Since: e.Since.UTC(),
			Attempts: e.Attempts, Generation: e.Generation, Error: e.Error, PayloadBytes: e.PayloadBytes,
			Failing: newFailingDocument(e.Failing), replaying: e.Replaying,
		}
		if !e.WaitsFor.IsZero() {
			listed.WaitsFor = &e.WaitsFor
		}
		document.Events = append(document.Events, listed)
	}
	if !page.Next.IsZero() {
		document.Next = &page.Next
	}
	return document
}

// eventFlags choose events in any state.
type eventFlags struct {
	choiceFlags
	state, since, until, next string
	notStates                 []string
}

func (f *eventFlags) add(cmd *cobra.Command) {
	f.addFilter(cmd)
	f.addNotState(cmd)
	cmd.Flags().StringVar(&f.next, "after", "", "start after this event: the \"next\" of the previous page")
}

// addFilter adds the flags that choose events, but not the flags for paging.
func (f *eventFlags) addFilter(cmd *cobra.Command) {
	f.choiceFlags.add(cmd)
	cmd.Flags().Lookup("error").Usage += "; of failing events together with --state failing"
	cmd.Flags().StringVar(&f.state, "state", "", "only: pending, held, in-flight, failing, confirmed, dead, suppressed or cancelled")
	cmd.Flags().StringVar(&f.since, "since", "", "only events emitted within this time (15m, 24h), or since this moment (RFC 3339)")
	cmd.Flags().StringVar(&f.until, "until", "", "only events emitted before this; written as --since")
	completeStates(cmd, "state")
}

// addNotState adds a flag for commands that only look. A command that changes events has no such flag: a filter that
// leaves out only confirmed events, for example, would choose every event that can still be changed.
func (f *eventFlags) addNotState(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.notStates, "not-state", nil, "leave out this state, written as --state; may be repeated")
	completeStates(cmd, "not-state")
}

func completeStates(cmd *cobra.Command, flag string) {
	states := make([]string, 0, len(lives.States()))
	for _, state := range lives.States() {
		states = append(states, strings.ReplaceAll(string(state), " ", "-"))
	}
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(states, cobra.ShellCompDirectiveNoFileComp))
}

// read returns the filter, and the event after which the list begins.
func (f *eventFlags) read() (lives.Filter, domain.ID, error) {
	var err error
	if f.filter.State, err = lives.ParseState(f.state); err != nil {
		return f.filter, domain.ID{}, config.Mistake{Err: fmt.Errorf("--state: %w", err)}
	}
	if f.filter.NotStates, err = lives.ParseStates(f.notStates); err != nil {
		return f.filter, domain.ID{}, config.Mistake{Err: fmt.Errorf("--not-state: %w", err)}
	}
	now := time.Now()
	for _, moment := range []struct {
		name, text string
		at         *time.Time
	}{{"--since", f.since, &f.filter.Since}, {"--until", f.until, &f.filter.Until}} {
		if moment.text == "" {
			continue
		}
		if *moment.at, err = lives.ParseMoment(moment.text, now); err != nil {
			return f.filter, domain.ID{}, config.Mistake{Err: fmt.Errorf("%s: %w", moment.name, err)}
		}
	}
	if err = f.choiceFlags.read(); err != nil {
		return f.filter, domain.ID{}, err
	}
	if f.next == "" {
		return f.filter, domain.ID{}, nil
	}
	after, err := domain.ParseID(f.next)
	if err != nil {
		return f.filter, after, config.Mistake{Err: fmt.Errorf("--after: %w", err)}
	}
	return f.filter, after, nil
}

func newEventsListCommand(c cli.Commands) *cobra.Command {
	var flags eventFlags
	var out terminal.Output
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List events, the newest first",
		Long: `List events, the newest first. An event is pending, held for its ordering key's turn, in flight (handed
to Redis and not confirmed), failing (its task failed and waits to be tried again), confirmed, dead, suppressed by another event's unique_seconds, or
cancelled. For a held event it names the event that goes first. It reads a bounded number of rows, and
says so if that was not enough.`,
		Example: `  outboxd events list --type email:send_notification --since 1h
  outboxd events list --state held
  outboxd events list --state failing --type email:send_notification
  outboxd events list --type invoice:send --not-state confirmed
  outboxd events list --state in-flight --header tenant=acme --until 15m -o json`,
		Args: cli.NoArguments,
	}
	flags.add(cmd)
	out.AddFlag(cmd)
	cmd.Flags().IntVar(&limit, "limit", 100, "most events to list, up to 10000")
	cmd.RunE = c.WithServersIfNamed(&out, c.Looking(func(cmd *cobra.Command, _ []string, o *cli.Opened) error {
		filter, after, err := flags.read()
		if err != nil {
			return err
		}
		if limit < 1 || limit > 10_000 {
			return config.Mistake{Err: fmt.Errorf("--limit %d: from 1 to 10000", limit)}
		}
		lives, closed, err := openLives(o, reading.NewLives(o.Reads))
		if err != nil {
			return err
		}
		defer closed()
		page, err := findSome(cmd.Context(), lives, filter, after, limit, *c.Timeout/2)
		if err != nil {
			return err
		}
		document := newEventListDocument(&page)
		return out.Write(cmd.OutOrStdout(), document, func(w io.Writer) { eventListTable(w, &document) })
	}))
	return cmd
}

// findSome searches on while a search found nothing and stopped early: the answer "none so far" does not say whether
// there are any. It begins no further search after the given time.
func findSome(ctx context.Context, reader lives.Reader, filter lives.Filter, after domain.ID, limit int, enough time.Duration) (lives.Page, error) {
	began := time.Now()
	page, err := reader.Search(ctx, filter, after, limit)
	for err == nil && len(page.Events) == 0 && page.GaveUp && time.Since(began) < enough {
		examined := page.Examined
		page, err = reader.Search(ctx, filter, page.Next, limit)
		page.Examined += examined
	}
	return page, err
}

func eventListTable(w io.Writer, d *EventListDocument) {
	if len(d.Events) > 0 {
		fmt.Fprintln(w, "ID\tTYPE\tQUEUE\tKEY\tSTATE\tSINCE\tDETAIL")
	} else if !d.GaveUp && !d.Incomplete {
		fmt.Fprintln(w, "No events.")
	}
	for i := range d.Events {
		e := &d.Events[i]
		key := "-"
		if e.OrderingKey != "" {
			key = terminal.OneLine(e.OrderingKey, 24)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			e.ID, terminal.OneLine(e.Type, 40), terminal.OneLine(e.Queue, 20), key, e.State, terminal.Instant(e.Since), terminal.OneLine(e.detail(), 80))
	}
	switch {
	case d.Next == nil:
	case d.GaveUp:
		if len(d.Events) == 0 {
			fmt.Fprint(w, "None found so far: ")
		}
		fmt.Fprintf(w, "%s looked at. There may be more among the others that you chose: --after %s, or choose fewer with --since and --until\n", words.Many(d.Examined, "event")+words.Plural(d.Examined, " was", " were"), d.Next)
	default:
		fmt.Fprintf(w, "There may be more: --after %s\n", d.Next)
	}
	if d.Incomplete {
		fmt.Fprintln(w, d.missing)
	}
	if d.QueueError != "" {
		fmt.Fprintf(w, "Failing events are listed as in flight: %s\n", terminal.OneLine(d.QueueError, 0))
	}
}

// detail returns what the event waits for, or the error that it ended with.
func (e *listedEvent) detail() string {
	switch {
	case e.WaitsFor != nil:
		return "waits for " + e.WaitsFor.String()
	case e.Failing != nil:
		return e.Failing.says
	case e.Error != "":
		return e.Error
	case e.replaying:
		return "waits for the end of the replay to its subscription"
	case e.State == lives.StateHeld:
		return "its key's turn is about to be given"
	case e.State == lives.StatePending && e.Since.After(time.Now()):
		return "not due yet"
	default:
		return "-"
	}
}
