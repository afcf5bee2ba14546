package health

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
	"outboxd/app/daemon"
	"outboxd/app/logging"
	"outboxd/app/lookout"
	"outboxd/app/servers"
	"outboxd/config"
	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/jobs/broker"
	"outboxd/jobs/inspect"
	"outboxd/migrations"
	"outboxd/repository/examine"
	"outboxd/repository/postgres"
	"outboxd/repository/search"
)

const aboutTop = `Show where the events are, how fast they move, which processes move them, and what endangers them. The
view is renewed until you press q or Ctrl-C. It shows the figures of the dashboard, and counts at most
50,000 events of a state. Rates and confirmed events are counted every 10 s.

With --once, or as JSON or YAML, it prints one view and ends. It does the same if standard output is
not a terminal, as in a script or pipe. With --interval it prints one view after another there.`

// examineEvery is how often top examines the servers thoroughly. An examination
// costs more than reading the figures.
const examineEvery = 30 * time.Second

// connectEvery is how often top tries to reach PostgreSQL while PostgreSQL does not answer.
const connectEvery = 5 * time.Second

// minInterval is the shortest interval between two views, so that top cannot load
// the servers much.
const minInterval = 200 * time.Millisecond

// NewTop returns the command top.
func NewTop(c cli.Commands) *cobra.Command {
	var out terminal.Output
	var interval time.Duration
	var once bool
	top := &cobra.Command{
		Use:     "top",
		Short:   "Watch where the events are and how fast they move",
		Long:    aboutTop,
		Example: "  outboxd top\n  outboxd top --once\n  outboxd top --interval=10s >>top.txt\n  outboxd top -o json | jq .pending",
		Args:    cli.NoArguments,
	}
	out.AddFlag(top)
	cli.DurationVar(top.Flags(), &interval, "interval", 2*time.Second, "time between two refreshes, at least 200ms")
	top.Flags().BoolVar(&once, "once", false, "print one view and end, also on a terminal")
	top.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if err := out.Check(); err != nil {
			return err
		}
		if interval < minInterval {
			return config.Mistake{Err: fmt.Errorf("--interval %v: at least %v", interval, minInterval)}
		}
		cfg, err := c.LoadToLook(cmd, config.RoleRelay)
		if err != nil {
			return err
		}
		// Log only errors: what PostgreSQL refuses appears as a finding, and a log line would disturb the views.
		cfg.Log.Level = "error"
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
		t, err := newTop(cfg, s, log)
		if err != nil {
			return err
		}
		defer t.close()
		if err := t.connect(cmd.Context()); err != nil {
			return err
		}
		stdout := cmd.OutOrStdout()
		color := terminal.NewPalette(stdout, c.Environ)
		// A script that does not ask for more views waits for the end of this command.
		once = once || out.Format != terminal.FormatTable || !logging.IsTerminal(stdout) && !cmd.Flags().Changed("interval")
		if once {
			view, err := t.look(cmd.Context())
			if err != nil {
				return err
			}
			if out.Format == terminal.FormatTable {
				return view.write(stdout, color)
			}
			return out.Write(stdout, view, nil)
		}
		ctx, screen, err := terminal.OpenScreen(cmd.Context(), stdout)
		if err != nil {
			return err
		}
		defer screen.Close()
		return t.run(ctx, interval, func(v TopView) error {
			return screen.Show(func(w io.Writer) error { return v.write(w, color) })
		})
	}
	return top
}

// top reads the state of the system repeatedly.
type top struct {
	cfg     *config.Config
	servers *servers.Servers
	log     *slog.Logger
	redis   *broker.Redis
	db      *postgres.Database // nil: PostgreSQL has not answered yet
	triedAt time.Time          // to connect to PostgreSQL

	lookout   *lookout.Lookout
	examiners []server

	findings   []domain.Finding
	examinedAt time.Time
}

func newTop(cfg *config.Config, s *servers.Servers, log *slog.Logger) (*top, error) {
	broker.BridgeLog(log)
	redis, err := s.OpenRedis(cli.RedisConnections)
	if err != nil {
		return nil, err
	}
	return &top{cfg: cfg, servers: s, log: log, redis: redis}, nil
}

// connect connects to PostgreSQL if PostgreSQL answers, and chooses the examinations that
// top can run. If PostgreSQL cannot be reached, top goes on without it. Every other error,
// such as a wrong password or schema, is returned.
func (t *top) connect(ctx context.Context) error {
	t.triedAt = time.Now()
	inspector := inspect.NewInspector(t.redis, t.servers.Forgetful(), time.Now)
	inspector.Handles(daemon.HandledTypes())
	sources := lookout.Sources{Foreign: inspector.Foreign}
	sources.ReadRedis(t.redis)
	t.examiners = []server{{diagnosis.Redis, inspector}}
	db, err := servers.OpenDatabase(ctx, t.cfg, t.servers.DatabaseURL, cli.DatabaseConnections, nil, t.log)
	if err == nil {
		if err = migrations.Core().Check(ctx, db.SQL()); err != nil {
			db.Close()
		}
	}
	switch {
	case err == nil:
		t.db = db
		sources.ReadDatabase(db, t.cfg)
		inspector.OnlyOurs(search.NewKnownEvents(db, t.cfg.Relay.History).Among)
		t.examiners = append([]server{{diagnosis.PostgreSQL, examine.New(db, servers.ExamineOptions(t.cfg))}}, t.examiners...)
	case domain.ErrorCode(err) == domain.CodeUnavailable || ctx.Err() != nil:
		sources.PostgresErr = err
	default:
		return err
	}
	t.lookout = lookout.New(sources)
	return nil
}

// server is a server that top examines.
type server struct {
	name     string
	examiner domain.Examiner
}

func (t *top) close() {
	_ = t.redis.Close()
	if t.db != nil {
		t.db.Close()
	}
}

// run draws the state of the system at once and then after every interval, until ctx ends.
func (t *top) run(ctx context.Context, interval time.Duration, show func(TopView) error) error {
	again := time.NewTicker(interval)
	defer again.Stop()
	for {
		view, err := t.look(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := show(view); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
		}
	}
}

// look reads the state of the system once. A server that cannot be reached becomes
// a finding. Errors: those of connect.
func (t *top) look(ctx context.Context) (TopView, error) {
	if t.db == nil && time.Since(t.triedAt) >= connectEvery {
		if err := t.connect(ctx); err != nil {
			return TopView{}, err
		}
		if t.db != nil {
			t.examinedAt = time.Time{}
		}
	}
	if time.Since(t.examinedAt) >= examineEvery {
		t.examine(ctx)
	}
	quick := t.lookout.Quick(ctx)
	if t.db != nil && quick.PostgresErr != nil || quick.RedisErr != nil {
		t.examinedAt = time.Time{} // earlier findings may be outdated
	}
	return newTopView(quick, quick.Merge(t.findings)), nil
}

func (t *top) examine(ctx context.Context) {
	t.findings, t.examinedAt = nil, time.Now()
	for _, s := range t.examiners {
		found, err := s.examiner.Examine(ctx)
		if err != nil {
			found = []domain.Finding{diagnosis.Unusable(s.name, err)}
		}
		t.findings = append(t.findings, diagnosis.Checked(found, t.examinedAt)...)
	}
}

// write writes a view as a table.
func (v TopView) write(w io.Writer, color terminal.Palette) error {
	fmt.Fprintln(w, color.Bold(v.Headline))
	// The findings come first, because a terminal with few lines cuts off the end.
	if len(v.Findings) == 0 {
		fmt.Fprintln(w, color.Green(AllClear))
	}
	for _, f := range v.Findings {
		fmt.Fprintf(w, "%s %s: %s\n", f.level(color), color.Bold(f.Code), terminal.OneLine(f.Found, 0))
	}
	fmt.Fprintln(w)
	aligned := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	v.table(aligned)
	return aligned.Flush()
}
