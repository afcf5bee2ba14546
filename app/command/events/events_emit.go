package events

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
	"outboxd/config"
	"outboxd/config/value"
	"outboxd/domain"
	"outboxd/repository"
)

// maxPayload is the largest payload that a command reads, in bytes. No outbox can be
// configured to allow more. The database checks the outbox's actual limit.
const maxPayload = 256 << 20

// emitFlags describe one event.
type emitFlags struct {
	payload                              string
	raw                                  bool
	queue, key                           string
	headers                              []string
	availableIn                          time.Duration
	maxRetry                             int
	timeout, retention, unique, deadline time.Duration
}

func (f *emitFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.payload, "payload", "{}", "the payload as JSON, or @FILE, or - for standard input")
	cmd.Flags().BoolVar(&f.raw, "raw", false, "take the payload as it is; without this flag it must be JSON")
	cmd.Flags().StringVar(&f.queue, "queue", domain.DefaultQueue, "the Asynq queue")
	cmd.Flags().StringVar(&f.key, "key", "", "the ordering key: events of one key take effect one after another")
	cmd.Flags().StringArrayVar(&f.headers, "header", nil, "a header, name=value; may be repeated")
	cli.DurationVar(cmd.Flags(), &f.availableIn, "available-in", 0, "how long from now the event is due")
	cmd.Flags().IntVar(&f.maxRetry, "max-retry", 0, "how often the worker tries again (Asynq's default is 25)")
	cli.DurationVar(cmd.Flags(), &f.timeout, "task-timeout", 0, "how long one attempt may take")
	cli.DurationVar(cmd.Flags(), &f.deadline, "deadline-in", 0, "time from now by which the task must be done")
	cli.DurationVar(cmd.Flags(), &f.retention, "retention", 0, "how long Redis keeps the task after it is done")
	cli.DurationVar(cmd.Flags(), &f.unique, "unique", 0, "how long another task of the same type, payload and queue is suppressed")
}

// event returns the event that the flags describe.
func (f *emitFlags) event(cmd *cobra.Command, kind string) (*domain.Event, error) {
	payload, err := f.read(cmd.InOrStdin())
	if err != nil {
		return nil, err
	}
	if !f.raw && !json.Valid(payload) {
		return nil, config.Mistake{Err: fmt.Errorf("the payload is not JSON; --raw takes it as it is")}
	}
	event := &domain.Event{Type: kind, Payload: payload, Queue: f.queue, OrderingKey: f.key, Options: domain.TaskOptions{
		Timeout: f.timeout, Retention: f.retention, Unique: f.unique,
	}}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"available-in", f.availableIn}, {"task-timeout", f.timeout}, {"deadline-in", f.deadline}, {"retention", f.retention}, {"unique", f.unique}} {
		if d.value < 0 {
			return nil, config.Mistake{Err: fmt.Errorf("--%s must not be negative", d.name)}
		}
	}
	if cmd.Flags().Changed("max-retry") {
		if f.maxRetry < 0 {
			return nil, config.Mistake{Err: fmt.Errorf("--max-retry must not be negative")}
		}
		event.Options.MaxRetry = &f.maxRetry
	}
	if f.availableIn > 0 {
		event.Available = time.Now().Add(f.availableIn)
	}
	if f.deadline > 0 {
		event.Options.Deadline = time.Now().Add(f.deadline)
	}
	event.Headers, err = f.readHeaders()
	return event, err
}

func (f *emitFlags) readHeaders() (map[string]string, error) {
	headers := map[string]string{}
	for _, header := range f.headers {
		name, value, found := strings.Cut(header, "=")
		if !found || name == "" {
			return nil, config.Mistake{Err: fmt.Errorf("--header %.60q: write name=value", header)}
		}
		headers[name] = value
	}
	return headers, nil
}

func (f *emitFlags) read(stdin io.Reader) ([]byte, error) {
	file, isFile := strings.CutPrefix(f.payload, "@")
	switch {
	case isFile:
		opened, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("read the payload: %w", err)
		}
		defer opened.Close()
		stdin = opened
	case f.payload != "-":
		return []byte(f.payload), nil
	}
	return readPayload(stdin, maxPayload)
}

// readPayload reads a payload of at most the given number of bytes.
func readPayload(r io.Reader, most int) ([]byte, error) {
	payload, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	if err != nil {
		return nil, fmt.Errorf("read the payload: %w", err)
	}
	if len(payload) > most {
		return nil, config.Mistake{Err: fmt.Errorf("the payload is larger than %v, the most that this command reads", value.Size(most))}
	}
	return payload, nil
}

// EmittedDocument is the result of events emit in JSON and YAML.
type EmittedDocument struct {
	ID          domain.ID `json:"id"`
	Type        string    `json:"type"`
	Queue       string    `json:"queue"`
	OrderingKey string    `json:"ordering_key,omitempty"`
	CreatedAt   time.Time `json:"created_at"`
	AvailableAt time.Time `json:"available_at"`
}

func newEventsEmitCommand(c cli.Commands) *cobra.Command {
	var flags emitFlags
	var out terminal.Output
	cmd := &cobra.Command{
		Use:   "emit TYPE",
		Short: "Write one event into the outbox, and print its ID",
		Long: `Write one event into the outbox, in a transaction of its own, and print its ID. This is for trying
things out, and for repairs. A service writes its events in the transaction of the change that they
announce.`,
		Example: `  outboxd events emit email:send_notification --queue notifications --payload '{"user_id": "..."}'
  outboxd events emit report:build --payload @report.json --queue low --available-in 1h --header tenant=acme
  printf 'any bytes' | outboxd events emit raw:bytes --payload - --raw`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || strings.TrimSpace(args[0]) == "" {
				return config.Mistake{Err: fmt.Errorf("%s takes one event type\nRun %s --help for an example", cmd.CommandPath(), cmd.CommandPath())}
			}
			return nil
		},
	}
	flags.add(cmd)
	out.AddFlag(cmd)
	cmd.RunE = c.WithServers(config.RoleAPI, &out, func(cmd *cobra.Command, args []string, o *cli.Opened) error {
		event, err := flags.event(cmd, args[0])
		if err != nil {
			return err
		}
		if err := repository.EmitAlone(cmd.Context(), o.DB, event); err != nil {
			return err
		}
		document := EmittedDocument{
			ID: event.ID, Type: event.Type, Queue: event.Queue, OrderingKey: event.OrderingKey,
			CreatedAt: event.CreatedAt.UTC(), AvailableAt: event.Available.UTC(),
		}
		return out.Write(cmd.OutOrStdout(), document, func(w io.Writer) { fmt.Fprintln(w, event.ID) })
	})
	return cmd
}
