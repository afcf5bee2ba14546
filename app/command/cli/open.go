package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"outboxd/app/command/terminal"
	"outboxd/app/logging"
	"outboxd/app/servers"
	"outboxd/config"
	"outboxd/domain"
	"outboxd/migrations"
	"outboxd/repository/postgres"
	"outboxd/repository/reading"
)

// Opened has what a command works with: its configuration, its connections to PostgreSQL,
// and the addresses of both servers.
type Opened struct {
	Config  *config.Config
	DB      *postgres.Database
	Servers *servers.Servers
	Log     *slog.Logger
	Reads   *reading.Reads // for what a command only shows
}

// WithServers returns a function that opens the servers that a role needs, configured or embedded, and then calls
// the function do. The returned function returns an error if the schema is not up to date.
func (c Commands) WithServers(role config.Role, out *terminal.Output, do func(*cobra.Command, []string, *Opened) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := out.Check(); err != nil {
			return err
		}
		cfg, err := c.LoadToLook(cmd, role)
		if err != nil {
			return err
		}
		return c.Open(cmd, cfg, 4, func(o *Opened) error {
			if err := migrations.Core().Check(cmd.Context(), o.DB.SQL()); err != nil {
				return err
			}
			return do(cmd, args, o)
		})
	}
}

// Looking wraps do for a command that only looks: do gets a context that ends after --timeout. A
// server that accepted the connection may still not answer, and a lock may hold a statement up.
func (c Commands) Looking(do func(*cobra.Command, []string, *Opened) error) func(*cobra.Command, []string, *Opened) error {
	return func(cmd *cobra.Command, args []string, o *Opened) error {
		whole := cmd.Context()
		ctx, cancel := context.WithTimeout(whole, *c.Timeout)
		defer cancel()
		cmd.SetContext(ctx)
		defer cmd.SetContext(whole)
		err := do(cmd, args, o)
		if err != nil && ctx.Err() != nil {
			return fmt.Errorf("%w (--timeout is %v)", err, *c.Timeout)
		}
		return err
	}
}

// WithServersIfNamed is WithServers for a command that can also work without Redis: if a
// database URL is configured and no Redis URL, it starts no embedded Redis.
func (c Commands) WithServersIfNamed(out *terminal.Output, do func(*cobra.Command, []string, *Opened) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		role := config.RoleRelay
		if cfg, err := c.LoadAs(cmd, role); err == nil && cfg.Database.URL != "" && cfg.Redis.URL == "" {
			role = config.RoleAPI
		}
		return c.WithServers(role, out, do)(cmd, args)
	}
}

// SayStandby says on standard error from which server a command read, if the configuration
// names a standby.
func SayStandby(cmd *cobra.Command, reads *reading.Reads) {
	if !reads.IsUsed() {
		return
	}
	if s, ok := reads.Standing(cmd.Context()); ok {
		fmt.Fprintln(cmd.ErrOrStderr(), s)
	}
}

// LoadAs reads the configuration for a command. LoadAs ignores the configured roles, and validates the configuration
// as if the given role were the only one.
//
// If the configuration has several databases, LoadAs returns an error: the person has to
// choose one with --source.
func (c Commands) LoadAs(cmd *cobra.Command, role config.Role) (*config.Config, error) {
	if err := config.Replace(cmd.Flags(), "roles", string(config.RoleRelay)); err != nil {
		return nil, fmt.Errorf("choose the role: %w", err)
	}
	if cfg, err := c.Load(cmd); err == nil {
		if err := RequireOne(cmd, cfg); err != nil {
			return nil, err
		}
	}
	return c.LoadAll(cmd, role)
}

// RequireOne returns an error if the configuration has several databases.
func RequireOne(cmd *cobra.Command, cfg *config.Config) error {
	if len(cfg.Databases) == 0 {
		return nil
	}
	return config.Mistake{Err: fmt.Errorf("several databases are configured, and %s needs one: choose it with --source, which may be %s",
		cmd.CommandPath(), strings.Join(cfg.Databases.Names(), " or "))}
}

// leastTimeout is the lowest value of --timeout.
const leastTimeout = time.Millisecond

// LoadAll is LoadAs for a command that can also work with several databases.
func (c Commands) LoadAll(cmd *cobra.Command, role config.Role) (*config.Config, error) {
	if *c.Timeout < leastTimeout {
		return nil, config.Mistake{Err: fmt.Errorf("--timeout %v: give at least %v", *c.Timeout, leastTimeout)}
	}
	if err := config.Replace(cmd.Flags(), "roles", string(role)); err != nil {
		return nil, fmt.Errorf("choose the role: %w", err)
	}
	cfg, err := c.Load(cmd)
	if err == nil {
		// Connecting may take nine tenths of the command's time limit; the last
		// tenth is kept for the queries.
		cfg.Database.ConnectTimeout = min(cfg.Database.ConnectTimeout, *c.Timeout-*c.Timeout/10)
	}
	return cfg, err
}

// LoadToLook reads the configuration for a command that only works on existing
// data.
func (c Commands) LoadToLook(cmd *cobra.Command, role config.Role) (*config.Config, error) {
	return ToLook(c.LoadAs(cmd, role))
}

// ToLook adapts a configuration to a command that only works on existing data. It returns
// an error if there is no data.
func ToLook(cfg *config.Config, err error) (*config.Config, error) {
	if err != nil {
		return nil, err
	}
	// Log only warnings, because info lines, which a daemon needs, would hide the
	// command's output.
	if cfg.Log.Level == "info" {
		cfg.Log.Level = "warn"
	}
	return cfg, servers.RequireData(cfg)
}

// StartServers starts the embedded servers that the configuration needs, as servers.Start does. Of the time that the
// command has, Redis may take three fifths to answer; the rest is for what is asked before and afterwards.
func (c Commands) StartServers(ctx context.Context, cfg *config.Config, log *slog.Logger) (*servers.Servers, error) {
	s, err := servers.Start(ctx, cfg, log)
	if err == nil {
		s.Patience = *c.Timeout * 3 / 5
	}
	return s, err
}

// Open opens the servers of a configuration, calls the function do and closes them again.
func (c Commands) Open(cmd *cobra.Command, cfg *config.Config, conns int, do func(*Opened) error) (err error) {
	log := logging.New(cmd.ErrOrStderr(), cfg.Log)
	s, err := c.StartServers(cmd.Context(), cfg, log)
	if err != nil {
		return err
	}
	defer func() {
		if stopped := s.Close(cmd.Context()); err == nil {
			err = stopped
		}
	}()
	db, err := servers.OpenDatabase(cmd.Context(), cfg, s.DatabaseURL, conns, nil, log)
	if err != nil {
		return err
	}
	defer db.Close()
	reads := servers.NewReads(cfg, db, log)
	defer reads.Close()
	defer SayStandby(cmd, reads)
	return do(&Opened{Config: cfg, DB: db, Servers: s, Log: log, Reads: reads})
}

// ActionFlags are the flags of a command that changes data.
type ActionFlags struct {
	Yes        bool
	reason, as string
}

// Add adds the flags to a command.
func (f *ActionFlags) Add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.Yes, "yes", false, "do it; without this flag the command only counts")
	cmd.Flags().StringVar(&f.reason, "reason", "", "why, for the record")
	cmd.Flags().StringVar(&f.as, "as", "", "for whom this user does it, for the record; the user itself is recorded as user@host")
}

// Consent returns an error unless the person agreed to the change with --yes. change is what would be done, such as
// "discard them".
func (f *ActionFlags) Consent(change string) error {
	if f.Yes {
		return nil
	}
	return config.Mistake{Err: fmt.Errorf("nothing was done; say --yes to %s", change)}
}

// Action returns the entry for the log of actions, before the action is carried
// out.
func (f *ActionFlags) Action(filter map[string]string) *domain.Action {
	actor := thisUser()
	if f.as != "" {
		actor += " for " + f.as // a typed name alone proves nothing
	}
	return &domain.Action{Actor: actor, Reason: f.reason, Filter: filter}
}

func thisUser() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		return name
	}
	return name + "@" + host
}

// EventIDs reads the IDs on a command line.
func EventIDs(args []string) ([]domain.ID, error) {
	var ids []domain.ID
	for _, arg := range args {
		// An argument may also be the ID of a task, which contains the ID of its
		// event.
		id, err := domain.EventID(arg)
		if err != nil {
			return nil, config.Mistake{Err: err}
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
