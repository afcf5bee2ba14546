package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"outboxd/app/command/terminal"
	"outboxd/app/logging"
	"outboxd/app/servers"
	"outboxd/config"
	"outboxd/domain"
	"outboxd/jobs/broker"
	"outboxd/jobs/inspect"
	"outboxd/repository"
	"outboxd/repository/examine"
)

const aboutDoctor = `Look at PostgreSQL and Redis for what costs people their nights, and say of each thing found what
follows from it, and the command that mends it. It changes nothing, and takes a few seconds at most.

A warning means that a promise is broken or may be; a note costs something, or could not be found out. A server that
cannot be reached is a warning, and the other one is looked at. The daemon looks at the same things once a
minute, but for the producer's role and for whether notifications arrive.

It exits with 1 if there is a warning.`

// doctorTimeout bounds looking at both servers.
const doctorTimeout = time.Minute

// examination is what doctor prints.
type examination struct {
	Findings []findingDocument `json:"findings"`
	Warnings int               `json:"warnings"`
}

type findingDocument struct {
	Code        string `json:"code"`
	Level       string `json:"level"`
	Found       string `json:"found"`
	Consequence string `json:"consequence"`
	Remedy      string `json:"remedy"`
}

func newExamination(findings []domain.Finding) examination {
	domain.SortFindings(findings)
	e := examination{Findings: []findingDocument{}, Warnings: len(domain.Warnings(findings))}
	for _, f := range findings {
		e.Findings = append(e.Findings, findingDocument{f.Code, string(f.Level), f.Found, f.Consequence, f.Remedy})
	}
	return e
}

var errWarnings = errors.New("there are warnings")

// doctorFlags choose what doctor looks for.
type doctorFlags struct {
	producer         string
	snapshot, keyAge time.Duration
}

func (c commands) newDoctorCommand() *cobra.Command {
	var out terminal.Output
	var flags doctorFlags
	doctor := &cobra.Command{
		Use:   "doctor",
		Short: "Look at PostgreSQL and Redis for what endangers events, and say how to mend it",
		Long:  aboutDoctor,
		Example: `  outboxd doctor
  outboxd doctor --producer-role shop
  outboxd doctor -o json | jq -r '.findings[] | .code + ": " + .remedy'`,
		Args: noArguments,
	}
	out.AddFlag(doctor)
	doctor.Flags().StringVar(&flags.producer, "producer-role", "", "also look whether this PostgreSQL role may write events")
	doctor.Flags().DurationVar(&flags.snapshot, "snapshot-age", servers.OldSnapshot, "how long a transaction may be open")
	doctor.Flags().DurationVar(&flags.keyAge, "key-age", servers.OldKey, "how long an ordering key may keep events waiting")
	doctor.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := out.Check(); err != nil {
			return err
		}
		options, err := c.doctorOptions(cmd, flags)
		if err != nil {
			return err
		}
		cfg, err := c.loadToLook(cmd, config.RoleRelay)
		if err != nil {
			return err
		}
		// LISTEN is what relays do, whatever roles this configuration has.
		options.Listens, options.ListenURL = cfg.Relay.Listen != config.ListenOff, string(cfg.Relay.ListenURL)
		findings, err := diagnose(cmd, cfg, options)
		if err != nil {
			return err
		}
		result := newExamination(findings)
		color := terminal.NewPalette(cmd.OutOrStdout(), c.environ)
		if err := out.Write(cmd.OutOrStdout(), result, func(w io.Writer) { result.table(w, color) }); err != nil {
			return err
		}
		if result.Warnings > 0 {
			return errWarnings
		}
		return nil
	}
	return doctor
}

// doctorOptions are those of a process with the roles that are configured, or,
// where these lack something that doctor does not need, of a relay.
func (c commands) doctorOptions(cmd *cobra.Command, flags doctorFlags) (examine.Options, error) {
	if flags.snapshot < 0 || flags.keyAge < 0 {
		return examine.Options{}, config.Mistake{Err: errors.New("--snapshot-age and --key-age are not negative")}
	}
	cfg, err := c.load(cmd)
	if err != nil {
		if cfg, err = c.loadAs(cmd, config.RoleRelay); err != nil {
			return examine.Options{}, err
		}
	}
	options := servers.ExamineOptions(cfg)
	options.ProducerRole, options.SnapshotAge, options.KeyAge = flags.producer, flags.snapshot, flags.keyAge
	return options, nil
}

// diagnose looks at both servers. Only where embedded ones cannot be started
// there is nothing to look at.
func diagnose(cmd *cobra.Command, cfg *config.Config, options examine.Options) (_ []domain.Finding, err error) {
	ctx, cancel := context.WithTimeout(cmd.Context(), doctorTimeout)
	defer cancel()
	log := logging.New(cmd.ErrOrStderr(), cfg.Log)
	broker.BridgeLog(log)
	s, err := servers.Start(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	defer func() {
		if stopped := s.Close(cmd.Context()); err == nil {
			err = stopped
		}
	}()
	// What is wrong with one server is logged in full; a finding is for everybody.
	database, err := diagnoseDatabase(ctx, cfg, s, options, log)
	if err != nil {
		log.Warn("PostgreSQL cannot be reached", "error", err)
		database = []domain.Finding{servers.Unusable(servers.Postgres, err)}
	}
	var known inspect.Known
	if err == nil {
		known = knownEvents(cfg, s, log)
	}
	redis, err := diagnoseRedis(ctx, s, known)
	switch domain.ErrorCode(err) {
	case "":
	case domain.CodeInvalid:
		return nil, config.Mistake{Err: err}
	default:
		log.Warn("Redis cannot be used", "error", err)
		redis = []domain.Finding{servers.Unusable(servers.Redis, err)}
	}
	return append(database, redis...), nil
}

func diagnoseDatabase(ctx context.Context, cfg *config.Config, s *servers.Servers, options examine.Options, log *slog.Logger) ([]domain.Finding, error) {
	db, err := servers.OpenDatabase(ctx, cfg, s.DatabaseURL, 2, nil, log)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	schema, err := servers.ExamineSchema(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("look at the schema: %w", err)
	}
	found, err := examine.New(db, options).Examine(ctx)
	return append(schema, found...), err
}

// redisConnections is how many connections to Redis a command needs.
const redisConnections = 2

// knownEvents asks the database only if there is something to ask.
func knownEvents(cfg *config.Config, s *servers.Servers, log *slog.Logger) inspect.Known {
	return func(ctx context.Context, ids []domain.ID) ([]domain.ID, error) {
		db, err := servers.OpenDatabase(ctx, cfg, s.DatabaseURL, 1, nil, log)
		if err != nil {
			return nil, err
		}
		defer db.Close()
		return repository.NewKnownEvents(db, cfg.Relay.History).Among(ctx, ids)
	}
}

func diagnoseRedis(ctx context.Context, s *servers.Servers, known inspect.Known) ([]domain.Finding, error) {
	redis, err := broker.Open(s.RedisURL, redisConnections)
	if err != nil {
		return nil, err
	}
	defer redis.Close()
	inspector := inspect.NewInspector(redis, s.Forgetful(), time.Now)
	inspector.OnlyOurs(known)
	return inspector.Examine(ctx)
}

// table prints one finding after another rather than columns: sentences are
// longer than lines.
func (e examination) table(w io.Writer, color terminal.Palette) {
	for _, f := range e.Findings {
		paint := color.Dim
		if f.Level == string(domain.FindingWarning) {
			paint = color.Yellow
		}
		fmt.Fprintf(w, "%s %s: %s\n", paint(f.Level), color.Bold(f.Code), terminal.OneLine(f.Found, 0))
		fmt.Fprintf(w, "  so    %s\n  mend  %s\n\n", terminal.OneLine(f.Consequence, 0), terminal.OneLine(f.Remedy, 0))
	}
	switch notes := len(e.Findings) - e.Warnings; {
	case len(e.Findings) == 0:
		fmt.Fprintln(w, color.Green("Nothing was found."))
	default:
		fmt.Fprintf(w, "%s, %s.\n", plural(e.Warnings, "warning"), plural(notes, "note"))
	}
}

func plural[N int | int64](n N, name string) string {
	if n == 1 {
		return "1 " + name
	}
	return fmt.Sprintf("%d %ss", n, name)
}
