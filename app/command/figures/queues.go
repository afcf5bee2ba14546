package figures

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
	"outboxd/domain"
	"outboxd/domain/figures"
	"outboxd/domain/setup"
	"outboxd/domain/words"
	"outboxd/jobs/pauses"
	"outboxd/repository/deadletters"
	"outboxd/repository/postgres"
	"outboxd/repository/search"
)

// NewQueues returns the command queues.
func NewQueues(c cli.Commands) *cobra.Command {
	return cli.Group("queues", "Show queues: rates, delays, failures and what waits; pause and resume them", "",
		newQueuesListCommand(c), newQueuesShowCommand(c),
		newQueueChangeCommand(c, domain.ActionPause, "Let no worker take a task of queues",
			"Let no worker take a task of the queues. What a worker has begun, it finishes. The relay goes on to hand events over,\nand their tasks wait. The record keeps who did it, and why.\n\n"+eachQueue, "--reason 'the mail server is being mended'"),
		newQueueChangeCommand(c, domain.ActionResume, "Let workers take tasks of paused queues", "Let workers take tasks of paused queues again, whoever paused them.\n\n"+eachQueue, "--reason 'the mail server is back'"))
}

// eachQueue says in the help what happens if one of several queues cannot be paused or resumed.
const eachQueue = "If the command fails for one of several queues, it goes on with the others, says what became of each, and exits with 1."

// QueueDocument is a queue in JSON and YAML. What is not known is null.
type QueueDocument struct {
	Queue  string       `json:"queue"`
	Types  []string     `json:"types"` // types of the queue's events that PostgreSQL knows, and of its failing tasks
	Paused *setup.Pause `json:"paused"`
	// LostPause is a pause on record that Redis does not have any more.
	LostPause *setup.Pause `json:"lost_pause,omitempty"`
	Foreign   bool         `json:"foreign"` // only other programs use it
	Workers   *int         `json:"workers"` // how many workers serve the queue: Asynq servers, of which a process may have several
	passedDocument
	cutDocument
	Pending   *int64          `json:"pending"`    // in PostgreSQL
	Held      *int64          `json:"held"`       // in PostgreSQL
	Dead      *int64          `json:"dead"`       // in PostgreSQL
	OldestDue *time.Time      `json:"oldest_due"` // when the oldest due event became due; null: none is due, or not known
	Tasks     *tasksDocument  `json:"tasks"`      // in Redis
	History   []pointDocument `json:"history,omitempty"`
}

// tasksDocument counts the tasks of a queue in Redis.
type tasksDocument struct {
	Pending   int64      `json:"pending"`
	Active    int64      `json:"active"`
	Scheduled int64      `json:"scheduled"`
	Retry     int64      `json:"retry"`
	Archived  int64      `json:"archived"`
	OldestAt  *time.Time `json:"oldest_at"` // when the oldest pending or failed task began to wait
	Processed int64      `json:"processed_today"`
	Failed    int64      `json:"failed_today"`
}

func newQueueDocument(q *figures.Queue, v *figures.View[figures.Queue]) QueueDocument {
	stored := v.StoreKnown()
	d := QueueDocument{
		Queue: q.Name, Types: append([]string{}, q.Types...), Paused: q.Paused, LostPause: q.LostPause, Foreign: q.Foreign, passedDocument: newPassedDocument(&q.Sum, &v.Seen), cutDocument: newCutDocument(figures.Cut{Pending: v.Cut.Pending, Held: v.Cut.Held, Dead: v.Cut.Dead}),
		Pending: knownNumber(q.Pending, stored), Held: knownNumber(q.Held, stored), Dead: knownNumber(q.Dead, stored), OldestDue: timeOrNull(q.OldestDue),
	}
	if v.QueuesKnown() {
		t := q.Tasks
		d.Workers, d.Tasks = &q.Workers, &tasksDocument{t.Pending, t.Active, t.Scheduled, t.Retry, t.Archived, timeOrNull(t.OldestAt), t.Processed, t.Failed}
	}
	return d
}

// QueueChangesDocument is the result of queues pause and queues resume.
type QueueChangesDocument struct {
	Queues []queueChangeDocument `json:"queues"` // in the order of the arguments
}

type queueChangeDocument struct {
	Queue  string `json:"queue"`
	Change string `json:"change"`          // paused or resumed; "": neither
	Error  string `json:"error,omitempty"` // why the queue was not changed, or why the change was not recorded
}

// QueueShownDocument is the result of queues show.
type QueueShownDocument struct {
	QueueDocument
	missingDocument
}

// QueuesDocument is the result of queues list.
type QueuesDocument struct {
	Queues []QueueDocument `json:"queues"`
	listDocument
}

func newQueuesListCommand(c cli.Commands) *cobra.Command {
	var out terminal.Output
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the queues, the ones in which the most waits first",
		Long: `List the queues of Redis, and those of events that wait in PostgreSQL. RATE 5m is the rate of confirmed events in
the last five minutes; FAILED (attempts), DIED and the delays from emitted to handler are of the last hour, as
measured once a minute. If less was measured, the headings have the shorter time. FAILED is ? where workers of your own try some of the events, because they do not report failed attempts. PENDING, HELD and DEAD are in PostgreSQL; WAITING (for a worker), RETRY (failed, tried again) and ACTIVE are in Redis, as they are now.`,
		Example: "  outboxd queues list\n  outboxd queues list -o json | jq '.queues[] | select(.paused)'",
		Args:    cli.NoArguments,
	}
	out.AddFlag(cmd)
	cmd.RunE = withSight(c, &out, func(cmd *cobra.Command, _ []string, s *sight) error {
		view := s.All(cmd.Context())
		d := QueuesDocument{
			cli.Documents(view.Lines, func(q *figures.Queue) QueueDocument { return newQueueDocument(q, &view) }),
			listDocument{view.Cut.Complete(), newMissingDocument(view.Seen)},
		}
		return cmp.Or(out.Write(cmd.OutOrStdout(), d, func(w io.Writer) { queuesTable(w, &d, &view.Seen) }), d.incomplete())
	})
	return cmd
}

func queuesTable(w io.Writer, d *QueuesDocument, seen *figures.Seen) {
	if len(d.Queues) == 0 {
		fmt.Fprintln(w, "No queues.")
	} else {
		fmt.Fprintln(w, "QUEUE\tSTATE\tWORKERS\t"+passedColumns(seen.Measurement)+"\tPENDING\tHELD\tWAITING\tRETRY\tACTIVE\tDEAD\tOLDEST")
	}
	for i := range d.Queues {
		q := &d.Queues[i]
		workers, waiting, retry, active, oldest := cli.Unknown, cli.Unknown, cli.Unknown, cli.Unknown, q.OldestDue
		if t := q.Tasks; t != nil {
			workers, waiting, retry, active = words.Count(*q.Workers), words.Count(t.Pending), words.Count(t.Retry), words.Count(t.Active)
			if t.OldestAt != nil && (oldest == nil || t.OldestAt.Before(*oldest)) {
				oldest = t.OldestAt
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", terminal.OneLine(q.Queue, 40), q.state(), workers, q.cells(),
			q.cell("pending", q.Pending), q.cell("held", q.Held), waiting, retry, active, q.cell("dead", q.Dead), ageCell(seen.At, oldest, q.Pending != nil && q.Tasks != nil))
	}
	writeMeasured(w, seen)
	writeUnseen(w, slices.ContainsFunc(d.Queues, func(q QueueDocument) bool { return q.unseen() }))
	d.writeEnd(w)
}

func (q *QueueDocument) state() string {
	switch {
	case q.Paused != nil:
		return "paused"
	case q.LostPause != nil:
		return "pause lost"
	case q.Foreign:
		return "of others"
	case q.Workers != nil && *q.Workers == 0:
		return "no worker"
	default:
		return "open"
	}
}

func newQueuesShowCommand(c cli.Commands) *cobra.Command {
	var out terminal.Output
	cmd := &cobra.Command{
		Use:     "show NAME",
		Short:   "Show a queue, with its last hour",
		Example: "  outboxd queues show notifications",
		Args:    cli.OneArgument("one name of a queue"),
	}
	out.AddFlag(cmd)
	cmd.RunE = withSight(c, &out, func(cmd *cobra.Command, args []string, s *sight) error {
		view := s.All(cmd.Context())
		line, err := lineOf(&view, "queue", args[0])
		if err != nil {
			return err
		}
		d := QueueShownDocument{newQueueDocument(line, &view), newMissingDocument(view.Seen)}
		if d.History, err = s.historyOf(cmd.Context(), "", args[0], line.Unseen); err != nil {
			return err
		}
		return cmp.Or(out.Write(cmd.OutOrStdout(), d, func(w io.Writer) {
			queuesTable(w, &QueuesDocument{[]QueueDocument{d.QueueDocument}, listDocument{view.Cut.Complete(), d.missingDocument}}, &view.Seen)
			if len(d.Types) > 0 {
				fmt.Fprintf(w, "\nTypes: %s\n", terminal.OneLine(strings.Join(d.Types, ", "), 0))
			}
			if d.Paused != nil {
				fmt.Fprintln(w, "\n"+pausedLine(d.Paused))
			}
			if d.LostPause != nil {
				fmt.Fprintln(w, "\nNot paused any more, though nobody resumed it. "+pausedLine(d.LostPause))
			}
			writeHistory(w, d.History, "queue", d.Queue)
		}), d.incomplete())
	})
	return cmd
}

func pausedLine(p *setup.Pause) string {
	if p.By == "" {
		return "Paused since " + terminal.Instant(p.Since) + ", not by outboxd"
	}
	line := "Paused since " + terminal.Instant(p.Since) + " by " + terminal.OneLine(p.By, 100)
	if p.Reason != "" {
		line += ": " + terminal.OneLine(p.Reason, 300)
	}
	return line
}

func newQueueChangeCommand(c cli.Commands, kind, short, long, example string) *cobra.Command {
	var out terminal.Output
	var flags cli.ActionFlags
	cmd := &cobra.Command{
		Use:     kind + " NAME...",
		Short:   short,
		Long:    long,
		Example: "  outboxd queues " + kind + " notifications --yes " + example,
		Args:    cli.Names("queues"),
	}
	out.AddFlag(cmd)
	flags.Add(cmd)
	cmd.RunE = withRedis(c, &out, func(cmd *cobra.Command, args []string, o *opened) error {
		if err := flags.Consent(kind + words.Plural(len(args), " the queue", " the queues")); err != nil {
			return err
		}
		d, failed := changeQueues(cmd.Context(), o, kind, &flags, args)
		if len(args) == 1 && failed != nil {
			return failed
		}
		return cmp.Or(out.Write(cmd.OutOrStdout(), d, func(w io.Writer) {
			for _, q := range d.Queues {
				said := " " + q.Change
				if q.Error != "" {
					said = ": " + terminal.OneLine(q.Error, 0)
				}
				fmt.Fprintln(w, terminal.OneLine(q.Queue, 0)+said)
			}
		}), failed)
	})
	return cmd
}

// changeQueues pauses or resumes each of the queues. The error is that of a single queue, or says how many of several
// failed.
func changeQueues(ctx context.Context, o *opened, kind string, flags *cli.ActionFlags, queues []string) (d QueueChangesDocument, failed error) {
	r := record{o: o}
	defer r.close()
	change := figures.Pauses{Queues: pauses.New(o.redis), Actions: &r, OnRecord: r.pauses}
	failures := 0
	for _, queue := range queues {
		done := queueChangeDocument{Queue: queue}
		action := flags.Action(nil)
		err := change.Change(ctx, kind, action, queue)
		if err == nil || action.Filter != nil { // the change was made, and perhaps not recorded
			done.Change = kind + "d"
		}
		if err != nil {
			failures, failed, done.Error = failures+1, err, err.Error()
		}
		d.Queues = append(d.Queues, done)
	}
	if failed != nil && len(queues) > 1 {
		failed = fmt.Errorf("%d of %d queues failed; see above", failures, len(queues))
	}
	return d, failed
}

// record writes and reads actions in PostgreSQL. It opens PostgreSQL at the first call, after
// the first queue was paused, so that this queue does not wait for a PostgreSQL that does not answer. The next queue
// waits until the one attempt to connect has failed.
type record struct {
	o   *opened
	db  *postgres.Database // nil: not open
	err error              // why it could not be opened
}

func (r *record) open(ctx context.Context) error {
	if r.db == nil && r.err == nil {
		r.db, r.err = r.o.database(ctx)
	}
	return r.err
}

func (r *record) close() {
	if r.db != nil {
		r.db.Close()
	}
}

// Record implements domain.ActionRecords.
func (r *record) Record(ctx context.Context, kind string, action *domain.Action, events int64, cause error) error {
	if err := r.open(ctx); err != nil {
		return err
	}
	return deadletters.New(r.db).Record(ctx, kind, action, events, cause)
}

// pauses returns the pause of the queue that is on record; see figures.Pauses.OnRecord.
func (r *record) pauses(ctx context.Context, queue string) (*setup.Pause, error) {
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	return search.NewFigures(r.db).PauseOnRecord(ctx, queue)
}
