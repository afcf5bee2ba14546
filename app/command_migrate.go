package app

import (
	"context"
	"fmt"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"outboxd/config"
	"outboxd/migrations"
	"outboxd/repository"
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
		RunE: c.withDatabase(func(cmd *cobra.Command, _ *config.Config, db *repository.Database, log *slog.Logger) error {
			if !yes {
				return usageError{fmt.Errorf("migrate down deletes the tables of the newest migration with their data; say --yes to do it")}
			}
			done, err := migrations.Down(cmd.Context(), db.SQL(), log)
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

func migrateUp(cmd *cobra.Command, cfg *config.Config, db *repository.Database, log *slog.Logger) error {
	applied, err := migrations.Up(cmd.Context(), db.SQL(), log)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "Applied %d migrations; the schema is up to date.\n", applied); err != nil {
		return err
	}
	limited, err := limitPayload(cmd.Context(), cfg, db, log)
	if limited {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "The outbox takes payloads of up to %s from now on.\n", cfg.Relay.MaxPayload)
	}
	return err
}

func migrationStatus(cmd *cobra.Command, _ *config.Config, db *repository.Database, _ *slog.Logger) error {
	list, err := migrations.Status(cmd.Context(), db.SQL())
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
func (c commands) withDatabase(do func(*cobra.Command, *config.Config, *repository.Database, *slog.Logger) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) (err error) {
		// A command needs the database alone, whatever the roles say and need.
		if err := cmd.Flags().Set("roles", string(config.RoleAPI)); err != nil {
			return fmt.Errorf("choose the role: %w", err)
		}
		cfg, err := c.load(cmd)
		if err != nil {
			return err
		}
		log := newLogger(cmd.ErrOrStderr(), cfg.Log)
		servers, err := startServers(cmd.Context(), cfg, log)
		if err != nil {
			return err
		}
		defer func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), serversPatience)
			defer cancel()
			if stopped := servers.close(ctx); err == nil {
				err = stopped
			}
		}()
		db, err := openDatabase(cmd.Context(), cfg, servers.databaseURL, 2, log)
		if err != nil {
			return err
		}
		defer db.Close()
		return do(cmd, cfg, db, log)
	}
}
