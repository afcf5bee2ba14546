package command

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
	"outboxd/app/servers"
	"outboxd/config"
	"outboxd/domain/words"
	"outboxd/migrations"
)

const aboutMigrate = `Bring the database schema up to date, or take the newest step back.

The example, user registration, has a schema of its own. With --example=on, up makes that schema as
well, and down takes back its newest migration instead of outboxd's. Without --example=on neither
touches it.`

func newMigrateCommand(c cli.Commands) *cobra.Command {
	up := &cobra.Command{
		Use: "up", Short: "Apply every pending migration, and the configured payload limit", Args: cli.NoArguments,
		Example: "  outboxd migrate up\n  outboxd migrate up --example=on\n  outboxd migrate up --relay-max-payload=4MiB",
		RunE:    withDatabase(c, migrateUp),
	}
	return cli.Group("migrate", "Bring the database schema up to date, or take the newest step back", aboutMigrate, up, newMigrateDownCommand(c), newMigrateStatusCommand(c))
}

func newMigrateDownCommand(c cli.Commands) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "down", Short: "Take the newest migration back, with the data that only its tables hold", Args: cli.NoArguments,
		Example: "  outboxd migrate down --yes\n  outboxd migrate down --yes --example=on",
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do it, data included")
	cmd.RunE = withDatabase(c, func(cmd *cobra.Command, o *cli.Opened) error {
		if !yes {
			return config.Mistake{Err: fmt.Errorf("migrate down deletes the tables of the newest migration with their data; say --yes to do it")}
		}
		sets := servers.Migrations(o.Config.Example == config.ExampleOn)
		set := sets[len(sets)-1]
		done, err := set.Down(cmd.Context(), o.DB.SQL(), o.Log)
		if err == nil && !done {
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "The schema %s has no migration to take back.\n", o.DB.Schema()+set.Suffix)
		} else if err == nil {
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "Took the newest migration of the schema %s back.\n", o.DB.Schema()+set.Suffix)
		}
		return err
	})
	return cmd
}

func newMigrateStatusCommand(c cli.Commands) *cobra.Command {
	var out terminal.Output
	cmd := &cobra.Command{
		Use: "status", Short: "List the migrations and which of them the database has", Args: cli.NoArguments,
		Example: "  outboxd migrate status\n  outboxd migrate status -o json | jq '.migrations[] | select(.applied_at == null)'",
	}
	out.AddFlag(cmd)
	cmd.RunE = withDatabase(c, func(cmd *cobra.Command, o *cli.Opened) error {
		if err := out.Check(); err != nil {
			return err
		}
		return migrationStatus(cmd, o, &out)
	})
	return cmd
}

func migrateUp(cmd *cobra.Command, o *cli.Opened) error {
	for _, set := range servers.Migrations(o.Config.Example == config.ExampleOn) {
		applied, err := set.Up(cmd.Context(), o.DB.SQL(), o.Log)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "Applied %s; the schema %s is up to date.\n", words.Many(applied, "migration"), o.DB.Schema()+set.Suffix); err != nil {
			return err
		}
	}
	limited, err := servers.LimitPayload(cmd.Context(), o.Config, o.DB, o.Log)
	if limited {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "The outbox takes payloads of up to %s from now on.\n", o.Config.Relay.MaxPayload)
	}
	return err
}

type migrationsDocument struct {
	Migrations []migrationDocument `json:"migrations"`
}

type migrationDocument struct {
	Schema    string     `json:"schema"`
	Version   int64      `json:"version"`
	Name      string     `json:"name"`
	AppliedAt *time.Time `json:"applied_at"` // null: pending
}

func migrationStatus(cmd *cobra.Command, o *cli.Opened, out *terminal.Output) error {
	document := migrationsDocument{Migrations: []migrationDocument{}}
	for _, set := range servers.Migrations(true) {
		list, err := set.Status(cmd.Context(), o.DB.SQL())
		if err != nil {
			return err
		}
		// Leave out the example's migrations if the example does not run and none of its
		// migrations is applied: nothing waits for them.
		if set.Suffix != "" && o.Config.Example != config.ExampleOn && !slices.ContainsFunc(list, migrations.Migration.IsApplied) {
			continue
		}
		for _, m := range list {
			entry := migrationDocument{Schema: o.DB.Schema() + set.Suffix, Version: m.Version, Name: m.Name}
			if m.IsApplied() {
				at := m.AppliedAt.UTC()
				entry.AppliedAt = &at
			}
			document.Migrations = append(document.Migrations, entry)
		}
	}
	return out.Write(cmd.OutOrStdout(), document, func(w io.Writer) {
		fmt.Fprintln(w, "SCHEMA\tVERSION\tNAME\tAPPLIED")
		for _, m := range document.Migrations {
			applied := "pending"
			if m.AppliedAt != nil {
				applied = m.AppliedAt.Format(time.RFC3339)
			}
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", m.Schema, m.Version, m.Name, applied)
		}
	})
}

// withDatabase runs a command on the configured database, or on the embedded one.
func withDatabase(c cli.Commands, do func(*cobra.Command, *cli.Opened) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		// Load the configuration as for the role api, because that role needs only
		// the database.
		cfg, err := c.LoadAs(cmd, config.RoleAPI)
		if err != nil {
			return err
		}
		return c.Open(cmd, cfg, 2, func(o *cli.Opened) error { return do(cmd, o) })
	}
}
