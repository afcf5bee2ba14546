package dead

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
	"outboxd/config"
	"outboxd/domain/export"
	"outboxd/repository/reading"
)

func newDeadExportCommand(c cli.Commands) *cobra.Command {
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
	cmd.RunE = c.WithServers(config.RoleAPI, &out, func(cmd *cobra.Command, args []string, o *cli.Opened) error {
		filter, _, err := flags.read(cmd, args)
		if err != nil {
			return err
		}
		hidden := export.Hidden{Payload: export.Payload, Header: func(_, value string) string { return value }}
		return cli.WriteExport(cmd, func(ctx context.Context, w io.Writer) (int64, error) {
			return export.DeadLetters(ctx, w, out.Format, reading.NewLetters(o.Reads), filter, hidden)
		})
	})
	return cmd
}
