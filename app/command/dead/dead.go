// Package dead has the commands on dead letters: list, group, show, replay, discard, export.
package dead

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/app/command/events"
	"outboxd/app/command/terminal"
	"outboxd/config"
	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/domain/words"
	"outboxd/repository/deadletters"
	"outboxd/repository/reading"
	"outboxd/repository/search"
)

const aboutDead = `Dead letters are events that were given up. The relay gives an event up when Redis refuses it too
often, or will never accept it. The worker gives it up when its handler has used up its retries, or
says that no retry helps. Dead letters stay until you replay or discard them.`

// New returns the command dead.
func New(c cli.Commands) *cobra.Command {
	return cli.Group("dead", "List, group, show, export, replay or discard dead letters", aboutDead,
		newDeadListCommand(c), newDeadGroupCommand(c), newDeadShowCommand(c), newDeadReplayCommand(c), newDeadDiscardCommand(c), newDeadExportCommand(c))
}

// deadFlags choose dead letters.
type deadFlags struct {
	filter               domain.DeadFilter
	stage, header, field string
	since, until         string
	notFields            []string
	notHeaders           []string
	all                  bool
}

func (f *deadFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.filter.Type, "type", "", "only of this event type; email:* chooses all that begin with email:")
	cmd.Flags().StringVar(&f.filter.Queue, "queue", "", "only of this queue, or low* for all that begin with low")
	cmd.Flags().StringVar(&f.stage, "stage", "", "only those given up by: relay, worker or person")
	_ = cmd.RegisterFlagCompletionFunc("stage", cobra.FixedCompletions([]string{string(domain.StageRelay), string(domain.StageWorker), string(domain.StagePerson)}, cobra.ShellCompDirectiveNoFileComp))
	cmd.Flags().StringVar(&f.filter.Error, "error", "", "only those whose error contains this text, in either case")
	cmd.Flags().StringArrayVar(&f.filter.NotErrors, "not-error", nil, "leave out those whose error contains this text, in either case; may be repeated")
	cmd.Flags().StringArrayVar(&f.filter.NotTypes, "not-type", nil, "leave out this event type, or email:* for all that begin with email:; may be repeated")
	cmd.Flags().StringArrayVar(&f.notFields, "not-field", nil, "leave out those with this field in the JSON payload, written as --field; may be repeated")
	cmd.Flags().StringArrayVar(&f.filter.NotKeys, "not-key", nil, "leave out this ordering key; may be repeated")
	cmd.Flags().StringArrayVar(&f.notHeaders, "not-header", nil, "leave out those with this header, written as --header; may be repeated")
	cmd.Flags().StringVar(&f.filter.OrderingKey, "key", "", "only of this ordering key")
	cmd.Flags().StringVar(&f.header, "header", "", "only with this header, name or name=value")
	cmd.Flags().StringVar(&f.field, "field", "", "only with this field in the JSON payload: name, name=value or order.customer=value; test-* as a value chooses all that begin with test-")
	cmd.Flags().StringVar(&f.since, "since", "", "only those that died within this time (15m, 24h), or since this moment (RFC 3339)")
	cmd.Flags().StringVar(&f.until, "until", "", "only those that died before this; written as --since")
}

// read returns the filter that the flags describe, and the flags that were set,
// for the log of actions.
func (f *deadFlags) read(cmd *cobra.Command, args []string) (domain.DeadFilter, map[string]string, error) {
	ids, err := cli.EventIDs(args)
	if err != nil {
		return f.filter, nil, err
	}
	switch stage := domain.Stage(f.stage); stage {
	case "", domain.StageRelay, domain.StageWorker, domain.StagePerson:
		f.filter.IDs, f.filter.Stage = ids, stage
	default:
		return f.filter, nil, config.Mistake{Err: fmt.Errorf("--stage %s: the stages are relay, worker and person", f.stage)}
	}
	f.filter.NotErrors, f.filter.NotTypes, f.filter.NotKeys = domain.Named(f.filter.NotErrors), domain.Named(f.filter.NotTypes), domain.Named(f.filter.NotKeys)
	if f.filter.NotHeaders, err = domain.ParseHeaders(f.notHeaders); err != nil {
		return f.filter, nil, config.Mistake{Err: fmt.Errorf("--not-header: %w", err)}
	}
	if f.filter.HeaderName, f.filter.HeaderValue, err = domain.ParseHeader(f.header); err != nil {
		return f.filter, nil, config.Mistake{Err: fmt.Errorf("--header: %w", err)}
	}
	if f.filter.Payload, err = domain.ParsePayloadField(f.field); err != nil {
		return f.filter, nil, config.Mistake{Err: fmt.Errorf("--field: %w", err)}
	}
	if f.filter.NotFields, err = domain.ParsePayloadFields(f.notFields); err != nil {
		return f.filter, nil, config.Mistake{Err: fmt.Errorf("--not-field: %w", err)}
	}
	if f.filter.NewerThan, f.filter.Since, err = diedAt(f.since); err != nil {
		return f.filter, nil, config.Mistake{Err: fmt.Errorf("--since: %w", err)}
	}
	if f.filter.OlderThan, f.filter.Until, err = diedAt(f.until); err != nil {
		return f.filter, nil, config.Mistake{Err: fmt.Errorf("--until: %w", err)}
	}
	said := cli.Said(cmd, "type", "not-type", "queue", "key", "not-key", "header", "not-header", "field", "not-field", "stage", "error", "not-error", "since", "until", "all", "rate", "canary", "canary-timeout")
	if len(args) > 0 {
		said["ids"] = strings.Join(args, " ")
	}
	if all := cmd.Flags().Lookup("all"); all != nil && all.Changed && (!f.all || f.filter.Narrows()) {
		return f.filter, nil, config.Mistake{Err: fmt.Errorf("--all means every dead letter; leave it out to choose some of them")}
	}
	return f.filter, said, nil
}

// diedAt reads a time that a person wrote. Unlike lives.ParseMoment, diedAt returns a duration (how long ago) as it is:
// the database subtracts it from its own clock, which may differ from this machine's.
func diedAt(text string) (ago time.Duration, at time.Time, err error) {
	if text == "" {
		return 0, at, nil
	}
	if ago, err = words.ParseDuration(text); err == nil && ago >= 0 {
		return ago, at, nil
	}
	at, err = lives.ParseMoment(text, time.Now())
	return 0, at, err
}

// ListDocument is the result of dead list.
type ListDocument struct {
	DeadLetters []events.DeadDocument `json:"dead_letters"`
	// Next is the value of --after for the next page. It is empty if this page has
	// fewer than --limit.
	Next string `json:"next,omitempty"`
}

func newDeadListCommand(c cli.Commands) *cobra.Command {
	var flags deadFlags
	var out terminal.Output
	var limit int
	var after string
	cmd := &cobra.Command{
		Use:   "list [ID...]",
		Short: "List dead letters, the oldest first",
		Example: `  outboxd dead list --type email:send_notification --since 24h
  outboxd dead list --error "connection refused" -o json`,
	}
	flags.add(cmd)
	out.AddFlag(cmd)
	cmd.Flags().IntVar(&limit, "limit", 100, "most dead letters to list")
	cmd.Flags().StringVar(&after, "after", "", "start after this place: the \"next\" of the previous page")
	cmd.RunE = c.WithServers(config.RoleAPI, &out, c.Looking(func(cmd *cobra.Command, args []string, o *cli.Opened) error {
		filter, _, err := flags.read(cmd, args)
		if err != nil {
			return err
		}
		place, err := domain.ParseCursor(after)
		if err != nil {
			return config.Mistake{Err: fmt.Errorf("--after: %w", err)}
		}
		if limit < 1 {
			return config.Mistake{Err: fmt.Errorf("--limit %d: at least 1", limit)}
		}
		list, err := reading.NewLetters(o.Reads).List(cmd.Context(), filter, place, limit)
		if err != nil {
			return err
		}
		document := ListDocument{DeadLetters: []events.DeadDocument{}}
		for i := range list {
			document.DeadLetters = append(document.DeadLetters, events.NewDeadDocument(&list[i]))
		}
		if len(list) == limit {
			document.Next = list[limit-1].Cursor().String()
		}
		if err := out.Write(cmd.OutOrStdout(), document, func(w io.Writer) { deadTable(w, document) }); err != nil {
			return err
		}
		if document.Next != "" || after != "" {
			return nil // another page may have the other IDs
		}
		return missing(filter.IDs, len(list))
	}))
	return cmd
}

func deadTable(w io.Writer, document ListDocument) {
	if len(document.DeadLetters) == 0 {
		fmt.Fprintln(w, "No dead letters.")
		return
	}
	fmt.Fprintln(w, "ID\tTYPE\tQUEUE\tSTAGE\tATTEMPTS\tDIED\tERROR")
	for _, d := range document.DeadLetters {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n",
			d.ID, terminal.OneLine(d.Type, 40), terminal.OneLine(d.Queue, 20), d.Stage, d.Attempts, terminal.Instant(d.DiedAt), terminal.OneLine(d.Error, 80))
	}
	if document.Next != "" {
		fmt.Fprintf(w, "There may be more: --after %s\n", document.Next)
	}
}

// missing returns an error if the command line names more IDs than were found.
func missing(ids []domain.ID, met int) error {
	if met >= len(ids) {
		return nil
	}
	return fmt.Errorf("not among the dead letters that were asked for: %d of the %d events named; outboxd events show ID says where an event is", len(ids)-met, len(ids))
}

func newDeadShowCommand(c cli.Commands) *cobra.Command {
	var out terminal.Output
	cmd := &cobra.Command{
		Use:     "show ID",
		Short:   "Show one dead letter: its errors, its journal, its payload",
		Example: "  outboxd dead show 01980000-0000-7000-8000-000000000000",
		Args:    cli.OneArgument("one event ID"),
	}
	out.AddFlag(cmd)
	cmd.RunE = c.WithServers(config.RoleAPI, &out, c.Looking(func(cmd *cobra.Command, args []string, o *cli.Opened) error {
		ids, err := cli.EventIDs(args)
		if err != nil {
			return err
		}
		list, err := deadletters.New(o.DB).List(cmd.Context(), domain.DeadFilter{IDs: ids}, domain.Cursor{}, 1)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return fmt.Errorf("event %s is not a dead letter; outboxd events show %s says what it is", ids[0], ids[0])
		}
		life, err := search.NewLives(o.DB).Find(cmd.Context(), ids[0])
		if err != nil {
			return err
		}
		document := events.NewEventDocument(life, nil)
		document.Dead = new(events.NewDeadDocument(&list[0]))
		return out.Write(cmd.OutOrStdout(), document, func(w io.Writer) { events.EventTable(w, &document) })
	}))
	return cmd
}
