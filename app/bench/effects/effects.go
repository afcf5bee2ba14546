package effects

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"outboxd/app/bench/drains"
	"outboxd/app/bench/env"
	"outboxd/app/bench/result"
	"outboxd/app/bench/spec"
)

// Effects is the benchmark of how soon a backlog has taken effect.
func Effects() spec.Bench {
	return spec.Bench{
		Name:  "effects",
		Short: "How fast a backlog takes effect, against transactions without any queue",
		Long: `Carries a backlog from the outbox to its committed effects, by the relay and one
worker. An effect is one row of the handler's own, beside the row in the inbox:

  one by one      a transaction for each event; --at-once tasks at a time
  together        the same handler; one transaction for all events that came while the last one ran; --batch-at-once tasks at a time
  in batches      such transactions too, and one statement for all their effects
  without effect  the same relay, and an Asynq worker that does nothing and confirms nothing
  external        deliveries over HTTP to a receiver that answers after 1 ms, each with its confirmation
  one key …       "one by one" and "in batches" with --key-events events of one ordering key
  floor           no queue at all: a transaction for each effect and its inbox row, on --at-once connections

The ratios "single", "together", "batch" and "external" are the rates of "one by one",
"together", "in batches" and "external" divided by the floor's. With --rtt the arms run
once more, with proxies in front of both servers (see bench network): "single_rtt",
"together_rtt", "batch_rtt" and "floor_rtt" are the rates with that round trip divided
by those without.

The figures "outboxd_us", "postgresql_us" and "redis_us" are the processor time that
each event takes, in µs. Other work on the machine changes them less than the rates.
"outboxd_us" includes the benchmark's own process. The figure of a server on another
machine is 0.

With --suggest the arms are workers with several numbers of tasks at once instead,
around --worker-concurrency or the number that its 0 stands for. The report then says
which options to set: the smallest number that reaches 95 % of the highest rate. Flags
that only shape the other arms are refused. The handlers of these workers write one
row each. Handlers that wait longer need more tasks at once, and for mails and
requests the other server decides.`,
		Prepare: func(flags *pflag.FlagSet) spec.Run {
			f := &effects{given: flags.Changed}
			f.Add(flags, 20_000)
			f.addPlaces(flags)
			flags.IntVar(&f.keyed, "key-events", 2000, "events of one ordering key in arms of their own")
			flags.StringArrayVar(&f.only, "only", nil, "only the arm of this name; may be repeated. The ratios need the floor")
			flags.BoolVar(&f.suggests, "suggest", false, "try several numbers of tasks at once, and say which options to set")
			flags.DurationVar(&f.rtt, "rtt", 0, "also with this round trip to either server; 0: not")
			return f.run
		},
	}
}

type effects struct {
	drains.Flags
	atOnce, gathered, keyed int
	rtt                     time.Duration
	suggests                bool
	only                    []string
	given                   func(flag string) bool
}

// effectsTable is the table that the handlers write their effects to.
const effectsTable = "bench_effects"

// effectSQL is an effect. $1 is the event's ID.
const effectSQL = "INSERT INTO " + effectsTable + " (event_id) VALUES ($1)"

func (f *effects) addPlaces(flags *pflag.FlagSet) {
	flags.IntVar(&f.atOnce, "at-once", 32, "tasks at a time, and connections of the floor")
	flags.IntVar(&f.gathered, "batch-at-once", 256, "tasks at a time of \"together\" and \"in batches\"")
}

// open begins the report, and makes the arms for servers without an added delay.
func (f *effects) open(ctx context.Context, e *env.Env, name string) (*result.Report, *effectArms, error) {
	if f.atOnce < 1 || f.atOnce > env.Conns-4 || f.gathered < 1 || f.keyed < 1 || f.rtt < 0 {
		return nil, nil, fmt.Errorf("--at-once has to be from 1 to %d, --batch-at-once and --key-events at least 1, and --rtt not below 0", env.Conns-4)
	}
	report, err := f.Begin(ctx, e, name)
	if err != nil {
		return nil, nil, err
	}
	report.Environment["worker_concurrency"], report.Environment["batch_concurrency"] = fmt.Sprint(f.atOnce), fmt.Sprint(f.gathered)
	if _, err := e.Admin.Exec(ctx, "CREATE TABLE IF NOT EXISTS "+effectsTable+" (event_id uuid NOT NULL, made_at timestamptz NOT NULL DEFAULT now())"); err != nil {
		return nil, nil, fmt.Errorf("make the table of the effects: %w", err)
	}
	near, err := f.contenders(ctx, e, "")
	return report, near, err
}

func (f *effects) run(ctx context.Context, e *env.Env) (_ *result.Report, err error) {
	if f.suggests {
		return f.suggest(ctx, e)
	}
	report, near, err := f.open(ctx, e, "effects")
	if err != nil {
		return nil, err
	}
	arms := near.list()
	var far *effectArms
	if f.rtt > 0 {
		distant, closeFar, awayErr := e.Away(ctx, f.rtt/2)
		if awayErr != nil {
			return nil, awayErr
		}
		defer func() { err = errors.Join(err, closeFar()) }()
		report.Environment["rtt"] = f.rtt.String()
		if err := distant.MeasureRoundTrips(ctx, report); err != nil {
			return nil, err
		}
		if far, err = f.contenders(ctx, distant, fmt.Sprintf(", %v away", f.rtt)); err != nil {
			return nil, err
		}
		arms = append(arms, far.list()...)
	}
	if arms, err = f.chosen(arms); err != nil {
		return nil, err
	}
	if err := report.Compare(ctx, e.Reset, f.Rounds, arms...); err != nil {
		return nil, err
	}
	report.Ratio("single", near.single, near.floor)
	report.Ratio("together", near.together, near.floor)
	report.Ratio("batch", near.batch, near.floor)
	report.Ratio("external", near.external, near.floor)
	if far != nil {
		report.Ratio("single_rtt", far.single, near.single)
		report.Ratio("together_rtt", far.together, near.together)
		report.Ratio("batch_rtt", far.batch, near.batch)
		report.Ratio("floor_rtt", far.floor, near.floor)
	}
	return report, nil
}

// chosen returns the arms that the flag --only names, or all arms without that
// flag.
func (f *effects) chosen(arms []*result.Contender) ([]*result.Contender, error) {
	if len(f.only) == 0 {
		return arms, nil
	}
	var list []*result.Contender
	for _, name := range f.only {
		i := slices.IndexFunc(arms, func(arm *result.Contender) bool { return arm.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("--only: there is no arm %q", name)
		}
		list = append(list, arms[i])
	}
	return list, nil
}
