package figures

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
	"outboxd/config"
	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/domain/words"
	"outboxd/repository/reading"
)

// NewKeys returns the command keys.
func NewKeys(c cli.Commands) *cobra.Command {
	return cli.Group("keys", "Show ordering keys that hold events back", "",
		newKeysListCommand(c), newKeysShowCommand(c))
}

func newKeysListCommand(c cli.Commands) *cobra.Command {
	var out terminal.Output
	var limit int
	cmd := &cobra.Command{
		Use:   "list [KEY...]",
		Short: "List ordering keys that hold events back, and why",
		Long: `List ordering keys that hold events back, the longest wait first. For each it says how many events
wait, since when, which event has the turn, and why that event holds them. Without a KEY it lists as
many keys as --limit says.`,
		Example: `  outboxd keys list
  outboxd keys list account-7 -o json`,
	}
	out.AddFlag(cmd)
	cmd.Flags().IntVar(&limit, "limit", 100, "most keys to list")
	cmd.RunE = c.WithServers(config.RoleAPI, &out, c.Looking(func(cmd *cobra.Command, args []string, o *cli.Opened) error {
		if limit < 1 || limit > lives.HeldKeysCounted {
			return config.Mistake{Err: fmt.Errorf("--limit %d: from 1 to %d", limit, lives.HeldKeysCounted)}
		}
		var named []string
		if len(args) > 0 {
			named = args
		}
		list, complete, err := reading.NewKeys(o.Reads).List(cmd.Context(), named, limit)
		if err != nil {
			return err
		}
		document := KeysDocument{Keys: []KeyDocument{}, Complete: complete && len(list) < limit}
		for i := range list {
			document.Keys = append(document.Keys, newKeyDocument(&list[i]))
		}
		return out.Write(cmd.OutOrStdout(), document, func(w io.Writer) { keysTable(w, &document) })
	}))
	return cmd
}

// KeysDocument is a list of held keys in JSON and YAML.
type KeysDocument struct {
	Keys []KeyDocument `json:"keys"`
	// Complete is false if the list may lack some ordering keys that hold
	// events back.
	Complete bool `json:"complete"`
}

// KeyDocument is an ordering key that holds events back. It is the result of keys show.
type KeyDocument struct {
	Key    string        `json:"key"`
	Held   int           `json:"held"` // counted up to 10,000
	Since  time.Time     `json:"since"`
	Next   domain.ID     `json:"next"`
	Reason string        `json:"reason"` // a sentence
	Turn   *turnDocument `json:"turn,omitempty"`
}

type turnDocument struct {
	ID        domain.ID   `json:"id"`
	Since     time.Time   `json:"since"`
	State     lives.State `json:"state"`
	Type      string      `json:"type,omitempty"`
	Queue     string      `json:"queue,omitempty"`
	Due       *time.Time  `json:"due,omitempty"`
	SentAt    *time.Time  `json:"sent_at,omitempty"`
	DiedAt    *time.Time  `json:"died_at,omitempty"`
	Attempts  int         `json:"attempts"`
	Error     string      `json:"error,omitempty"`
	Confirmed bool        `json:"confirmed"`
}

func newKeyDocument(k *lives.HeldKey) KeyDocument {
	d := KeyDocument{Key: k.Key, Held: k.Held, Since: k.Since.UTC(), Next: k.Next, Reason: k.Holds(time.Now())}
	if t := k.Turn; t != nil {
		d.Turn = &turnDocument{
			ID: t.ID, Since: t.Since.UTC(), State: t.State, Type: t.Type, Queue: t.Queue, Attempts: t.Attempts, Error: t.Error, Confirmed: t.Confirmed,
		}
		at := new(t.At.UTC())
		switch t.State {
		case lives.StatePending:
			d.Turn.Due = at
		case lives.StateInFlight, lives.StateFailing:
			d.Turn.SentAt = at
		case lives.StateDead:
			d.Turn.DiedAt = at
		case lives.StateHeld, lives.StateConfirmed, lives.StateSuppressed, lives.StateCancelled, lives.StateGone:
		}
	}
	return d
}

func keysTable(w io.Writer, document *KeysDocument) {
	if len(document.Keys) == 0 && document.Complete {
		fmt.Fprintln(w, "No held keys.")
		return
	}
	fmt.Fprintln(w, "KEY\tHELD\tSINCE\tTURN OF\tTYPE\tWHY IT HOLDS")
	for _, k := range document.Keys {
		id, kind := "-", "-"
		if k.Turn != nil {
			id, kind = k.Turn.ID.String(), terminal.OneLine(k.Turn.Type, 40)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", terminal.OneLine(k.Key, 40), k.held(), terminal.Instant(k.Since), id, kind, terminal.OneLine(k.Reason, 100))
	}
	if dead := firstDead(document.Keys); dead != nil {
		fmt.Fprintf(w, "A dead letter holds its key until it is replayed or discarded: outboxd dead show %s\n", dead.Turn.ID)
	}
	if !document.Complete {
		fmt.Fprintln(w, "There may be more: --limit, or name the keys.")
	}
}

// held is how many events the key holds back.
func (k *KeyDocument) held() string {
	if k.Held == lives.HeldEventsCounted {
		return words.Count(k.Held) + " or more"
	}
	return words.Count(k.Held)
}

func newKeysShowCommand(c cli.Commands) *cobra.Command {
	var out terminal.Output
	cmd := &cobra.Command{
		Use:     "show KEY",
		Short:   "Show an ordering key that holds events back, and what to do",
		Example: "  outboxd keys show account-7",
		Args:    cli.OneArgument("one ordering key"),
	}
	out.AddFlag(cmd)
	cmd.RunE = c.WithServers(config.RoleAPI, &out, c.Looking(func(cmd *cobra.Command, args []string, o *cli.Opened) error {
		list, _, err := reading.NewKeys(o.Reads).List(cmd.Context(), args, 1)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return domain.Errorf(domain.CodeNotFound, "no event of the ordering key %.100q is held", args[0])
		}
		d := newKeyDocument(&list[0])
		return out.Write(cmd.OutOrStdout(), d, func(w io.Writer) { keyTable(w, &d) })
	}))
	return cmd
}

func keyTable(w io.Writer, d *KeyDocument) {
	fmt.Fprintf(w, "Key\t%s\nHeld\t%s\nHeld since\t%s\nWhy\t%s\n", terminal.OneLine(d.Key, 100), d.held(), terminal.Instant(d.Since), terminal.OneLine(d.Reason, 300))
	if t := d.Turn; t != nil {
		fmt.Fprintf(w, "The turn has\t%s\nSince\t%s\nState\t%s\n", t.ID, terminal.Instant(t.Since), t.State)
		if t.Type != "" {
			fmt.Fprintf(w, "Type\t%s\nQueue\t%s\nAttempts\t%s\n", terminal.OneLine(t.Type, 100), terminal.OneLine(t.Queue, 100), words.Count(t.Attempts))
		}
		if t.Error != "" {
			fmt.Fprintf(w, "Error\t%s\n", terminal.OneLine(t.Error, 300))
		}
	}
	fmt.Fprintf(w, "Next\t%s\n\n", d.Next)
	if t := d.Turn; t != nil {
		fmt.Fprintf(w, "The event that has the turn: outboxd events show %s\n", t.ID)
		if t.State == lives.StateDead {
			fmt.Fprintf(w, "The key goes on after: outboxd dead replay %[1]s, or outboxd dead discard %[1]s\n", t.ID)
		}
	}
	fmt.Fprintf(w, "All that it holds: outboxd events list --state held --key %s\n", terminal.ShellWord(d.Key))
}

func firstDead(keys []KeyDocument) *KeyDocument {
	for i := range keys {
		if t := keys[i].Turn; t != nil && t.State == lives.StateDead {
			return &keys[i]
		}
	}
	return nil
}
