package setups

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
	"outboxd/app/daemon"
	"outboxd/client"
	"outboxd/config"
	"outboxd/domain"
	"outboxd/domain/words"
	"outboxd/jobs/deliver"
	"outboxd/repository/subscriptions"
)

// ProbeDocument is the result of a probe in JSON and YAML.
type ProbeDocument struct {
	Name     string    `json:"name"`
	ID       domain.ID `json:"webhook_id"`
	Accepted bool      `json:"accepted"`
	Status   int       `json:"status,omitempty"` // missing if there was no answer
	Took     string    `json:"took"`
	Answer   string    `json:"answer,omitempty"`  // an excerpt
	Trouble  string    `json:"trouble,omitempty"` // one or two words: refused address, TLS, timeout …
	Error    string    `json:"error,omitempty"`
	Advice   string    `json:"advice,omitempty"`

	took time.Duration // for people
}

func newSubscriptionsTestCommand(c cli.Commands) *cobra.Command {
	var out terminal.Output
	cmd := &cobra.Command{
		Use:   "test NAME",
		Short: "Send a signed probe to the receiver of a subscription, and print its answer",
		Long: `Send one signed request to the receiver of a subscription, as a worker would. Print the status, the
duration, an excerpt of the answer, and what went wrong. The request has the type ` + deliver.ProbeType + `
and belongs to no event: nothing is confirmed, and no attempt is charged. This process sends it, so
give it the --deliver-allow and the secrets that the workers have. It exits with 1 if the answer is
not 2xx.`,
		Example: "  outboxd subscriptions test crm\n  CRM_SECRET=whsec_… outboxd subscriptions test crm --deliver-allow=10.0.0.0/8",
		Args:    cli.OneArgument("one name of a subscription"),
	}
	out.AddFlag(cmd)
	cmd.RunE = c.WithServers(config.RoleAPI, &out, func(cmd *cobra.Command, args []string, o *cli.Opened) error {
		found, err := subscriptions.New(o.DB).Find(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		options, err := daemon.SenderOptions(o.Config)
		if err != nil {
			return err
		}
		sender := deliver.NewSender(options)
		defer sender.Close()
		id := domain.ID(client.NewID())
		a := sender.Probe(cmd.Context(), deliver.TargetOf(found), id)
		d := newProbeDocument(found.Name, id, &a)
		if err := out.Write(cmd.OutOrStdout(), d, func(w io.Writer) { probeTable(w, &d) }); err != nil {
			return err
		}
		if !d.Accepted {
			return fmt.Errorf("the receiver of %s did not accept the probe: %s", d.Name, d.Trouble)
		}
		return nil
	})
	return cmd
}

func newProbeDocument(name string, id domain.ID, a *deliver.Attempt) ProbeDocument {
	d := ProbeDocument{
		Name: name, ID: id, Accepted: a.Outcome == deliver.Accepted, Status: a.Status, Took: a.Took.Round(time.Millisecond).String(),
		Answer: a.Excerpt, Trouble: a.Trouble(), Advice: a.Advice(), took: a.Took,
	}
	if a.Err != nil {
		d.Error = a.Err.Error()
	}
	return d
}

func probeTable(w io.Writer, d *ProbeDocument) {
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, terminal.OneLine(value, 0))
		}
	}
	status := "no answer"
	if d.Status != 0 {
		status = fmt.Sprintf("%d %s", d.Status, http.StatusText(d.Status))
	}
	row("Subscription", d.Name)
	row("webhook-id", d.ID.String())
	row("Status", status)
	row("Took", words.Duration(d.took))
	row("Answer", d.Answer)
	row("Trouble", d.Trouble)
	row("Error", d.Error)
	row("Advice", d.Advice)
}
