package events

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
	"outboxd/domain/export"
	"outboxd/repository/reading"
)

func newEventsExportCommand(c cli.Commands) *cobra.Command {
	var flags eventFlags
	var out terminal.Output
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write events as CSV or JSON, without their payloads",
		Long:  `Write all events that the filter chooses as CSV or JSON, the newest first. It has the columns of events list.`,
		Example: `  outboxd events export --type email:send_notification --since 1h > events.csv
  outboxd events export --type invoice:send --not-state confirmed > open.csv
  outboxd events export --state failing -o json > failing.json`,
		Args: cli.NoArguments,
	}
	flags.addFilter(cmd)
	flags.addNotState(cmd)
	out.AddFormsFlag(cmd, export.Forms()...)
	cmd.RunE = c.WithServersIfNamed(&out, func(cmd *cobra.Command, _ []string, o *cli.Opened) error {
		filter, _, err := flags.read()
		if err != nil {
			return err
		}
		lives, closed, err := openLives(o, reading.NewLives(o.Reads))
		if err != nil {
			return err
		}
		defer closed()
		return cli.WriteExport(cmd, func(ctx context.Context, w io.Writer) (int64, error) {
			rows, queueFault, err := export.Events(ctx, w, out.Format, lives, filter)
			if queueFault != "" {
				fmt.Fprintf(cmd.ErrOrStderr(), "Failing events are written as in flight: %s\n", terminal.OneLine(queueFault, 0))
			}
			return rows, err
		})
	})
	return cmd
}
