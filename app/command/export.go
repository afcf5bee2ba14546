package command

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"outboxd/app/command/terminal"
	"outboxd/config"
	"outboxd/domain/export"
	"outboxd/repository/reading"
)

// writeExport writes all to the command's standard output, and says on standard error how
// many rows that were.
func writeExport(cmd *cobra.Command, write func(ctx context.Context, w io.Writer) (int64, error)) error {
	w := bufio.NewWriter(cmd.OutOrStdout())
	n, err := write(cmd.Context(), w)
	if flushed := w.Flush(); err == nil {
		err = flushed
	}
	if err == nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "%d rows\n", n)
	}
	return err
}

func (c commands) newDeadExportCommand() *cobra.Command {
	var flags deadFlags
	var out terminal.Output
	cmd := &cobra.Command{
		Use:   "export [ID...]",
		Short: "Write dead letters as CSV or JSON, with their payloads",
		Long: `Write all dead letters that the filter chooses as CSV or JSON, with their headers and payloads, those that died
first at the top. A payload that is no text is written in base64.`,
		Example: `  outboxd dead export --type email:send_notification > dead.csv
  outboxd dead export --not-error "timeout" -o json > dead.json`,
	}
	flags.add(cmd)
	out.AddFormsFlag(cmd, export.Forms()...)
	cmd.RunE = c.withServers(config.RoleAPI, &out, func(cmd *cobra.Command, args []string, o *opened) error {
		filter, _, err := flags.read(cmd, args)
		if err != nil {
			return err
		}
		hidden := export.Hidden{Payload: export.Payload, Header: func(_, value string) string { return value }}
		return writeExport(cmd, func(ctx context.Context, w io.Writer) (int64, error) {
			return export.DeadLetters(ctx, w, out.Format, reading.NewLetters(o.reads), filter, hidden)
		})
	})
	return cmd
}

func (c commands) newEventsExportCommand() *cobra.Command {
	var flags eventFlags
	var out terminal.Output
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write events as CSV or JSON, without their payloads",
		Long:  `Write all events that the filter chooses as CSV or JSON, the newest first. It has the columns of events list.`,
		Example: `  outboxd events export --type email:send_notification --since 1h > events.csv
  outboxd events export --state failing -o json > failing.json`,
		Args: noArguments,
	}
	flags.addFilter(cmd)
	out.AddFormsFlag(cmd, export.Forms()...)
	cmd.RunE = c.withServersIfNamed(&out, func(cmd *cobra.Command, _ []string, o *opened) error {
		filter, _, err := flags.read()
		if err != nil {
			return err
		}
		lives, closed, err := openLives(o, reading.NewLives(o.reads))
		if err != nil {
			return err
		}
		defer closed()
		return writeExport(cmd, func(ctx context.Context, w io.Writer) (int64, error) {
			return export.Events(ctx, w, out.Format, lives, filter)
		})
	})
	return cmd
}
