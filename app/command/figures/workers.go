package figures

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
	"outboxd/domain/overview"
	"outboxd/domain/words"
)

// NewWorkers returns the command workers.
func NewWorkers(c cli.Commands) *cobra.Command {
	return cli.Group("workers", "Show workers, their queues and what they carry out", "",
		newWorkersListCommand(c), newWorkersShowCommand(c))
}

// WorkerDocument is a worker, which is one Asynq server, in JSON and YAML.
type WorkerDocument struct {
	Worker      string         `json:"worker"` // HOST:PID
	Host        string         `json:"host"`
	PID         int            `json:"pid"`
	Version     string         `json:"version,omitempty"` // of the worker's program, if the worker says it
	StartedAt   time.Time      `json:"started_at"`
	State       string         `json:"state"` // active or stopping
	Concurrency int            `json:"concurrency"`
	Busy        int            `json:"busy"`
	Queues      map[string]int `json:"queues"` // with their weights
	Strict      bool           `json:"strict"` // the weights are priorities
	// Tasks has up to 100 tasks that the worker is working on, in the order in which they
	// began.
	Tasks []workingDocument `json:"tasks"`
}

type workingDocument struct {
	TaskID   string     `json:"task_id"`
	Type     string     `json:"type"`
	Queue    string     `json:"queue"`
	Since    time.Time  `json:"since"`
	Deadline *time.Time `json:"deadline,omitempty"`
}

func newWorkerDocument(w *overview.WorkerStatus) WorkerDocument {
	d := WorkerDocument{
		Worker: w.Host + ":" + strconv.Itoa(w.PID), Host: w.Host, PID: w.PID, Version: w.Version, StartedAt: w.StartedAt.UTC(), State: "active",
		Concurrency: w.Concurrency, Busy: w.Busy, Queues: w.Queues, Strict: w.Strict, Tasks: []workingDocument{},
	}
	if w.Stopping {
		d.State = "stopping"
	}
	for _, t := range w.Tasks {
		d.Tasks = append(d.Tasks, workingDocument{t.TaskID, t.Type, t.Queue, t.Since.UTC(), timeOrNull(t.Deadline)})
	}
	return d
}

func (d *WorkerDocument) queues() string { return overview.QueueWeights(d.Queues) }

// WorkersDocument is the result of workers list and of workers show.
type WorkersDocument struct {
	Workers []WorkerDocument `json:"workers"`
}

func newWorkersListCommand(c cli.Commands) *cobra.Command {
	var out terminal.Output
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the workers",
		Long: `List the workers that gave Redis a sign of life in the last ten seconds: outboxd's, and those of your own
services. A worker is one Asynq server. A process may have several, for different queues. VERSION is the release
of the worker's program, or ? if the worker does not say it: outboxd and consumer.Run of the Go module do, Asynq's own
server does not. BUSY counts the tasks that a worker carries out.`,
		Example: "  outboxd workers list",
		Args:    cli.NoArguments,
	}
	out.AddFlag(cmd)
	cmd.RunE = withSight(c, &out, func(cmd *cobra.Command, _ []string, s *sight) error {
		workers, err := s.Queues.Workers(cmd.Context())
		if err != nil {
			return err
		}
		documents := cli.Documents(workers, newWorkerDocument)
		return out.Write(cmd.OutOrStdout(), WorkersDocument{documents}, func(w io.Writer) { workersTable(w, documents) })
	})
	return cmd
}

func workersTable(w io.Writer, documents []WorkerDocument) {
	if len(documents) == 0 {
		fmt.Fprintln(w, "No workers.")
		return
	}
	fmt.Fprintln(w, "WORKER\tVERSION\tSTATE\tBUSY\tOF\tSTARTED\tQUEUES\tLONGEST TASK")
	for i := range documents {
		d := &documents[i]
		longest := "-"
		if len(d.Tasks) > 0 {
			longest = fmt.Sprintf("%s, %s", terminal.OneLine(d.Tasks[0].Type, 40), words.Rough(max(time.Since(d.Tasks[0].Since), 0)))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\n", terminal.OneLine(d.Worker, 60), terminal.OneLine(cmp.Or(d.Version, "?"), 50), d.State, d.Busy, d.Concurrency, terminal.Instant(d.StartedAt), terminal.OneLine(d.queues(), 60), longest)
	}
}

func newWorkersShowCommand(c cli.Commands) *cobra.Command {
	var out terminal.Output
	cmd := &cobra.Command{
		Use:     "show HOST:PID",
		Short:   "Show the workers of a process, and what they carry out",
		Long:    "Show the workers of a process, and what they carry out. A process may have several workers, for different queues.",
		Example: "  outboxd workers show web-1:4711",
		Args:    cli.OneArgument("one process, as workers list names it"),
	}
	out.AddFlag(cmd)
	cmd.RunE = withSight(c, &out, func(cmd *cobra.Command, args []string, s *sight) error {
		workers, err := s.Queues.Workers(cmd.Context())
		if err != nil {
			return err
		}
		documents := []WorkerDocument{}
		for i := range workers {
			if d := newWorkerDocument(&workers[i]); d.Worker == args[0] {
				documents = append(documents, d)
			}
		}
		if len(documents) == 0 {
			return fmt.Errorf("no worker %.100q has given a sign of life in the last ten seconds; outboxd workers list names those that have", args[0])
		}
		return out.Write(cmd.OutOrStdout(), WorkersDocument{documents}, func(w io.Writer) {
			workersTable(w, documents)
			for i := range documents {
				workingTable(w, documents[i].Tasks)
			}
		})
	})
	return cmd
}

func workingTable(w io.Writer, tasks []workingDocument) {
	if len(tasks) == 0 {
		return
	}
	fmt.Fprintln(w, "\nTASK\tTYPE\tQUEUE\tSINCE\tDEADLINE")
	for _, t := range tasks {
		deadline := "-"
		if t.Deadline != nil {
			deadline = terminal.Instant(*t.Deadline)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", terminal.OneLine(t.TaskID, 60), terminal.OneLine(t.Type, 40), terminal.OneLine(t.Queue, 30), terminal.Instant(t.Since), deadline)
	}
}
