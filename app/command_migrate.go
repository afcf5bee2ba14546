package app

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"outboxd/config"
	"outboxd/migrations"
)

func (c commands) newMigrateCommand() *cobra.Command {
	migrate := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database schema up to date, or take the newest step back",
		Args:  noArguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var yes bool
	down := &cobra.Command{
		Use: "down", Short: "Take the newest migration back, with the data that only its tables hold", Args: noArguments,
		RunE: c.withDatabase(func(cmd *cobra.Command, o *opened) error {
			if !yes {
				return usageError{fmt.Errorf("migrate down deletes the tables of the newest migration with their data; say --yes to do it")}
			}
			done, err := migrations.Down(cmd.Context(), o.db.SQL(), o.log)
			if err == nil && !done {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), "There is no migration to take back.")
			} else if err == nil {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), "Took the newest migration back.")
			}
			return err
		}),
	}
	down.Flags().BoolVar(&yes, "yes", false, "do it, data included")
	migrate.AddCommand(
		&cobra.Command{
			Use: "up", Short: "Apply every pending migration, and the configured payload limit", Args: noArguments,
			RunE: c.withDatabase(migrateUp),
		},
		down,
		&cobra.Command{
			Use: "status", Short: "List the migrations and which of them the database has", Args: noArguments,
			RunE: c.withDatabase(migrationStatus),
		},
	)
	return migrate
}

func migrateUp(cmd *cobra.Command, o *opened) error {
	applied, err := migrations.Up(cmd.Context(), o.db.SQL(), o.log)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "Applied %d migrations; the schema is up to date.\n", applied); err != nil {
		return err
	}
	limited, err := limitPayload(cmd.Context(), o.cfg, o.db, o.log)
	if limited {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "The outbox takes payloads of up to %s from now on.\n", o.cfg.Relay.MaxPayload)
	}
	return err
}

func migrationStatus(cmd *cobra.Command, o *opened) error {
	list, err := migrations.Status(cmd.Context(), o.db.SQL())
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "VERSION\tNAME\tAPPLIED")
	for _, m := range list {
		applied := "pending"
		if !m.AppliedAt.IsZero() {
			applied = m.AppliedAt.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(table, "%d\t%s\t%s\n", m.Version, m.Name, applied)
	}
	return table.Flush()
}

// withDatabase opens the configured database, or the embedded one, for one
// command.
func (c commands) withDatabase(do func(*cobra.Command, *opened) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		// The role that needs the database alone.
		cfg, err := c.loadAs(cmd, config.RoleAPI)
		if err != nil {
			return err
		}
		return open(cmd, cfg, 2, func(o *opened) error { return do(cmd, o) })
	}
}
