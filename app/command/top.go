package command

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"outboxd/app/command/terminal"
	"outboxd/app/daemon"
	"outboxd/app/lookout"
	"outboxd/app/servers"
	"outboxd/config"
	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/jobs/broker"
	"outboxd/jobs/inspect"
	"outboxd/jobs/retries"
	"outboxd/repository/examine"
	"outboxd/repository/search"
)

const aboutTop = `Show where the events are, how fast they move, which processes move them, and what endangers them. The
view is renewed until you press q or Ctrl-C. It shows the figures of the dashboard, and counts at most
50,000 events of a state.

If standard output is not a terminal, it prints one view after another. With --once, or as JSON or
YAML, it prints one.`

// examineEvery is how often top does thorough looks, which cost more than the
// figures.
const examineEvery = 30 * time.Second

// minInterval limits the load of top.
const minInterval = 200 * time.Millisecond

func (c commands) newTopCommand() *cobra.Command {
	var out terminal.Output
	var interval time.Duration
	var once bool
	top := &cobra.Command{
		Use:     "top",
		Short:   "Watch where the events are and how fast they move",
		Long:    aboutTop,
		Example: "  outboxd top\n  outboxd top --once\n  outboxd top -o json | jq .pending",
		Args:    noArguments,
	}
	out.AddFlag(top)
	durationVar(top.Flags(), &interval, "interval", 2*time.Second, "time between two refreshes, at least 200ms")
	top.Flags().BoolVar(&once, "once", false, "look once")
	top.RunE = c.withServers(config.RoleRelay, &out, func(cmd *cobra.Command, _ []string, o *opened) error {
		if interval < minInterval {
			return config.Mistake{Err: fmt.Errorf("--interval %v: at least %v", interval, minInterval)}
		}
		t, err := newTop(o)
		if err != nil {
			return err
		}
		defer t.close()
		stdout := cmd.OutOrStdout()
		if out.Format != terminal.FormatTable {
			return out.Write(stdout, t.look(cmd.Context()), nil)
		}
		color := terminal.NewPalette(stdout, c.environ)
		if once {
			return t.look(cmd.Context()).write(stdout, color)
		}
		ctx, screen, err := terminal.OpenScreen(cmd.Context(), stdout)
		if err != nil {
			return err
		}
		defer screen.Close()
		return t.run(ctx, interval, func(v topView) error {
			return screen.Show(func(w io.Writer) error { return v.write(w, color) })
		})
	})
	return top
}

// top looks repeatedly.
type top struct {
	lookout   *lookout.Lookout
	redis     *broker.Redis
	examiners []server

	findings   []domain.Finding
	examinedAt time.Time
}

func newTop(o *opened) (*top, error) {
	broker.BridgeLog(o.log)
	redis, err := o.servers.OpenRedis(redisConnections)
	if err != nil {
		return nil, err
	}
	inspector := inspect.NewInspector(redis, o.servers.Forgetful(), time.Now)
	inspector.Handles(daemon.HandledTypes())
	inspector.OnlyOurs(search.NewKnownEvents(o.db, o.cfg.Relay.History).Among)
	return &top{
		lookout: lookout.New(lookout.Sources{
			Events: search.NewOverviews(o.db), Queues: inspect.NewOverviews(redis), Failing: retries.New(redis), Foreign: inspector.Foreign,
		}),
		redis:     redis,
		examiners: []server{{diagnosis.PostgreSQL, examine.New(o.db, servers.ExamineOptions(o.cfg))}, {diagnosis.Redis, inspector}},
	}, nil
}

// server is a server that top examines.
type server struct {
	name     string
	examiner domain.Examiner
}

func (t *top) close() {
	_ = t.redis.Close()
}

// run shows a view at once and then after every interval, until ctx ends.
func (t *top) run(ctx context.Context, interval time.Duration, show func(topView) error) error {
	again := time.NewTicker(interval)
	defer again.Stop()
	for {
		view := t.look(ctx)
		if ctx.Err() != nil {
			return nil
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

// look reads everything once. A server that cannot be reached is a finding.
func (t *top) look(ctx context.Context) topView {
	if time.Since(t.examinedAt) >= examineEvery {
		t.examine(ctx)
	}
	quick := t.lookout.Quick(ctx)
	if quick.PostgresErr != nil || quick.RedisErr != nil {
		t.examinedAt = time.Time{} // earlier findings may be outdated
	}
	return newTopView(quick, quick.Merge(t.findings))
}

func (t *top) examine(ctx context.Context) {
	t.findings, t.examinedAt = nil, time.Now()
	for _, s := range t.examiners {
		found, err := s.examiner.Examine(ctx)
		if err != nil {
			found = []domain.Finding{diagnosis.Unusable(s.name, err)}
		}
		t.findings = append(t.findings, found...)
	}
}

// write writes a view as a table.
func (v topView) write(w io.Writer, color terminal.Palette) error {
	fmt.Fprintln(w, color.Bold(v.Headline))
	aligned := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	v.table(aligned)
	if err := aligned.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if len(v.Findings) == 0 {
		fmt.Fprintln(w, color.Green("Nothing endangers the events."))
	}
	for _, f := range v.Findings {
		fmt.Fprintf(w, "%s %s: %s\n", f.level(color), color.Bold(f.Code), terminal.OneLine(f.Found, 0))
	}
	return nil
}
