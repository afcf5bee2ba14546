// Package health has the commands that judge the whole system: doctor, top and verify.
package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
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
	"outboxd/domain/words"
	"outboxd/jobs/broker"
	"outboxd/jobs/inspect"
	"outboxd/repository/examine"
	"outboxd/repository/postgres"
	"outboxd/repository/search"
	"outboxd/repository/subscriptions"
)

const aboutDoctor = `Look at PostgreSQL and Redis for dangers to events. For each finding it says what follows from it, and
how to mend it. It changes nothing and takes a few seconds.

Broken means that events do not move, or not in time. A warning means that a promise may be broken. A
note means that something costs time or room, or could not be checked. If one server cannot be
reached, doctor still looks at the other one. The dashboard, top and /readyz show the same findings.
Only doctor looks at the version of the schema, the rights of the producer's role, and whether
notifications arrive.

It exits with 1 if something is broken or there is a warning.`

// doctorTimeout bounds the examination of PostgreSQL and Redis together.
const doctorTimeout = time.Minute

// Examination is the result of doctor.
type Examination struct {
	Findings []findingDocument `json:"findings"`
	Broken   int               `json:"broken"`
	Warnings int               `json:"warnings"`
}

type findingDocument struct {
	Code        string `json:"code"`
	Level       string `json:"level"`
	Found       string `json:"found"`
	Consequence string `json:"consequence"`
	Remedy      string `json:"remedy"`
}

func newExamination(findings []domain.Finding) Examination {
	domain.SortFindings(findings)
	e := Examination{Findings: []findingDocument{}}
	for _, f := range findings {
		switch f.Level {
		case domain.FindingBroken:
			e.Broken++
		case domain.FindingWarning:
			e.Warnings++
		case domain.FindingNote:
		}
		e.Findings = append(e.Findings, findingDocument{f.Code, string(f.Level), f.Found, f.Consequence, f.Remedy})
	}
	return e
}

// problems returns the command's error, which says how many findings are broken or
// warnings. It returns nil if there is none.
func (e Examination) problems() error {
	if n := e.Broken + e.Warnings; n > 0 {
		return fmt.Errorf("%s", words.Many(n, "problem"))
	}
	return nil
}

// doctorFlags choose what doctor looks for.
type doctorFlags struct {
	producer         string
	snapshot, keyAge time.Duration
}

// NewDoctor returns the command doctor.
func NewDoctor(c cli.Commands) *cobra.Command {
	var out terminal.Output
	var flags doctorFlags
	doctor := &cobra.Command{
		Use:        "doctor",
		SuggestFor: []string{"status", "health", "check"},
		Short:      "Check PostgreSQL and Redis for dangers to events, and say how to mend them",
		Long:       aboutDoctor,
		Example: `  outboxd doctor
  outboxd doctor --producer-role shop
  outboxd doctor -o json | jq -r '.findings[] | .code + ": " + .remedy'`,
		Args: cli.NoArguments,
	}
	out.AddFlag(doctor)
	doctor.Flags().StringVar(&flags.producer, "producer-role", "", "also check whether this PostgreSQL role may write events")
	cli.DurationVar(doctor.Flags(), &flags.snapshot, "snapshot-age", diagnosis.SnapshotOpen, "how long a transaction may be open")
	cli.DurationVar(doctor.Flags(), &flags.keyAge, "key-age", diagnosis.KeyHeld, "how long an ordering key may keep events waiting")
	doctor.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := out.Check(); err != nil {
			return err
		}
		options, err := doctorOptions(c, cmd, flags)
		if err != nil {
			return err
		}
		cfg, err := cli.ToLook(c.LoadAll(cmd, config.RoleRelay))
		if err != nil {
			return err
		}
		// Check whether relays can LISTEN, even if this configuration has no role
		// relay.
		options.Listens, options.ListenURL = cfg.Relay.Listen != config.ListenOff, string(cfg.Relay.ListenURL)
		findings, err := diagnose(c, cmd, cfg, options)
		if err != nil {
			return err
		}
		result := newExamination(findings)
		color := terminal.NewPalette(cmd.OutOrStdout(), c.Environ)
		if err := out.Write(cmd.OutOrStdout(), result, func(w io.Writer) { result.table(w, color) }); err != nil {
			return err
		}
		return result.problems()
	}
	return doctor
}

// doctorOptions returns the options for the configured roles. If the configuration
// is invalid for these roles, because it lacks a setting that doctor does not need,
// doctorOptions returns the options for a relay.
func doctorOptions(c cli.Commands, cmd *cobra.Command, flags doctorFlags) (examine.Options, error) {
	if flags.snapshot < 0 || flags.keyAge < 0 {
		return examine.Options{}, config.Mistake{Err: errors.New("--snapshot-age and --key-age must not be negative")}
	}
	cfg, err := c.Load(cmd)
	if err != nil {
		if cfg, err = c.LoadAll(cmd, config.RoleRelay); err != nil {
			return examine.Options{}, err
		}
	}
	options := servers.ExamineOptions(cfg)
	options.ProducerRole, options.SnapshotAge, options.KeyAge = flags.producer, flags.snapshot, flags.keyAge
	return options, nil
}

// diagnose examines PostgreSQL and Redis. A server that does not answer is a finding, not
// an error.
func diagnose(c cli.Commands, cmd *cobra.Command, cfg *config.Config, options examine.Options) (_ []domain.Finding, err error) {
	ctx, cancel := context.WithTimeout(cmd.Context(), doctorTimeout)
	defer cancel()
	log := logging.New(cmd.ErrOrStderr(), cfg.Log)
	broker.BridgeLog(log)
	s, err := c.StartServers(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	defer func() {
		if stopped := s.Close(cmd.Context()); err == nil {
			err = stopped
		}
	}()
	if len(cfg.Databases) > 0 {
		return examineSeveral(ctx, cfg, s, options, log)
	}
	return examineBoth(ctx, cfg, s, servers.OpenDatabase, options, log)
}

// examineSeveral examines each of several databases, together with Redis, and joins the
// findings.
func examineSeveral(ctx context.Context, cfg *config.Config, s *servers.Servers, options examine.Options, log *slog.Logger) ([]domain.Finding, error) {
	about := make([]diagnosis.About, len(cfg.Databases))
	subscribed := make([]diagnosis.Subscribed, len(cfg.Databases))
	errs := make([]error, len(cfg.Databases))
	var examined sync.WaitGroup
	for i, source := range cfg.Databases {
		examined.Go(func() {
			one := *s
			one.DatabaseURL = string(source.URL)
			options := options
			options.ListenURL = string(source.ListenURL)
			about[i].Source, subscribed[i].Source = source.Name, source.Name
			open := func(ctx context.Context, cfg *config.Config, url string, conns int, tracer pgx.QueryTracer, log *slog.Logger) (*postgres.Database, error) {
				db, err := servers.OpenSource(ctx, cfg, url, conns, tracer, log)
				if err == nil {
					// If the names cannot be read, the examination says why.
					subscribed[i].Names, _ = subscriptions.New(db).Names(ctx)
				}
				return db, err
			}
			about[i].Findings, errs[i] = examineBoth(ctx, cfg.For(source), &one, open, options, log.With("source", source.Name))
		})
	}
	examined.Wait()
	return diagnosis.Join(about, diagnosis.SubscriptionsTwice(subscribed)), errors.Join(errs...)
}

type opener func(ctx context.Context, cfg *config.Config, url string, conns int, tracer pgx.QueryTracer, log *slog.Logger) (*postgres.Database, error)

// examineBoth does both the quick and the thorough examinations. examineBoth logs the
// full error of a server that fails, because a finding does not contain the error's
// details. The parameter open is servers.OpenDatabase, or a function that calls
// servers.OpenSource.
func examineBoth(ctx context.Context, cfg *config.Config, s *servers.Servers, open opener, options examine.Options, log *slog.Logger) ([]domain.Finding, error) {
	var sources lookout.Sources
	var thorough []domain.Finding
	var known inspect.Known
	var receivers inspect.Receivers
	redis, redisErr := s.OpenRedis(cli.RedisConnections)
	if domain.ErrorCode(redisErr) == domain.CodeInvalid {
		return nil, config.Mistake{Err: redisErr}
	}
	// Ask both servers at the same time, because each may take as long as the time
	// limit.
	var answered sync.WaitGroup
	if redisErr == nil {
		defer func() { _ = redis.Close() }()
		answered.Go(func() {
			if err := redis.Client().Ping(ctx).Err(); err != nil {
				redisErr = broker.Unavailable("reach Redis", err)
			}
		})
	}
	db, err := open(ctx, cfg, s.DatabaseURL, cli.DatabaseConnections, nil, log)
	answered.Wait()
	if err == nil {
		defer db.Close()
		sources.ReadDatabase(db, cfg)
		known, receivers = search.NewKnownEvents(db, cfg.Relay.History).Among, search.NewOverviews(db).Receivers
		thorough, err = examineDatabase(ctx, db, options)
	}
	if err != nil {
		log.Warn("PostgreSQL cannot be reached", "error", err)
		sources.PostgresErr, known, receivers = domain.Wrap(domain.CodeUnavailable, err, "PostgreSQL cannot be reached"), nil, nil
	}
	if err = redisErr; err == nil {
		inspector := inspect.NewInspector(redis, s.Forgetful(), time.Now)
		inspector.Handles(daemon.HandledTypes())
		inspector.OnlyOurs(known)
		inspector.Receivers(receivers)
		sources.ReadRedis(redis)
		sources.Foreign = inspector.Foreign
		var found []domain.Finding
		found, err = inspector.Examine(ctx)
		thorough = append(thorough, found...)
	}
	if err != nil {
		log.Warn("Redis cannot be used", "error", err)
		sources.RedisErr = err
	}
	return lookout.New(sources).Quick(ctx).Merge(thorough), nil
}

func examineDatabase(ctx context.Context, db *postgres.Database, options examine.Options) ([]domain.Finding, error) {
	schema, err := servers.ExamineSchema(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("look at the schema: %w", err)
	}
	found, err := examine.New(db, options).Examine(ctx)
	return append(schema, found...), err
}

// AllClear is the line that doctor and top print if there are no findings.
const AllClear = "Nothing endangers the events."

// table prints the findings one below the other. table uses no columns, because a
// finding's sentences are longer than a line.
func (e Examination) table(w io.Writer, color terminal.Palette) {
	for _, f := range e.Findings {
		fmt.Fprintf(w, "%s %s: %s\n", f.level(color), color.Bold(f.Code), terminal.OneLine(f.Found, 0))
		fmt.Fprintf(w, "  so    %s\n  mend  %s\n\n", terminal.OneLine(f.Consequence, 0), terminal.OneLine(f.Remedy, 0))
	}
	if len(e.Findings) == 0 {
		fmt.Fprintln(w, color.Green(AllClear))
		return
	}
	fmt.Fprintf(w, "%s broken, %s, %s.\n", words.Count(e.Broken), words.Many(e.Warnings, "warning"), words.Many(len(e.Findings)-e.Broken-e.Warnings, "note"))
}

// level returns the level in its colour.
func (f findingDocument) level(color terminal.Palette) string {
	switch domain.FindingLevel(f.Level) {
	case domain.FindingBroken:
		return color.Red(f.Level)
	case domain.FindingWarning:
		return color.Yellow(f.Level)
	default:
		return color.Dim(f.Level)
	}
}
