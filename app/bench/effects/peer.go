package effects

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"outboxd/app/bench/env"
	"outboxd/app/bench/result"
	"outboxd/app/bench/spec"
	"outboxd/app/bench/tally"
)

// Peer is software other than outboxd that carries a backlog to its effects. Each
// effect is the statement PeerOptions.Effect, in a transaction that also records that
// the event has taken effect.
type Peer struct {
	Name string // of its arm; the names of the ratios end with it
	// Load writes n events with payloads of that many bytes, before the clock starts.
	Load func(ctx context.Context, n, payload int) error
	// Run lets all events take effect, and calls the function done after each commit,
	// until ctx ends.
	Run func(ctx context.Context, done func()) error
}

// PeerOptions say what the arms of all peers have in common.
type PeerOptions struct {
	Effect string // the statement of an effect; $1 is the ID of its event, a uuid
	AtOnce int    // tasks at a time, as in outboxd's arms
}

// Peers is the benchmark of outboxd beside other software. The other software is in a
// module of its own, so that outboxd does not depend on it.
func Peers(prepare func(ctx context.Context, e *env.Env, o PeerOptions) ([]Peer, error)) spec.Bench {
	return spec.Bench{
		Name:  "peers",
		Short: "How fast a backlog takes effect, with outboxd and with others",
		Long: `The arms "one by one", "together", "in batches" and "floor" of bench effects, and in
turn with them, on the same servers, other software that has the same effects. The
ratios "single_…", "together_…" and "batch_…" are outboxd's rates divided by the other's;
"single", "together" and "batch" are outboxd's rates divided by the floor's.`,
		Prepare: func(flags *pflag.FlagSet) spec.Run {
			f := &effects{}
			f.Add(flags, 20_000)
			f.addPlaces(flags)
			return func(ctx context.Context, e *env.Env) (*result.Report, error) { return f.beside(ctx, e, prepare) }
		},
	}
}

func (f *effects) beside(ctx context.Context, e *env.Env, prepare func(context.Context, *env.Env, PeerOptions) ([]Peer, error)) (*result.Report, error) {
	f.keyed = 1
	report, near, err := f.open(ctx, e, "peers")
	if err != nil {
		return nil, err
	}
	peers, err := prepare(ctx, e, PeerOptions{Effect: effectSQL, AtOnce: f.atOnce})
	if err != nil {
		return nil, err
	}
	arms := []*result.Contender{near.single, near.together, near.batch, near.floor}
	others := make([]*result.Contender, len(peers))
	for i, p := range peers {
		others[i] = f.peerArm(e, p)
	}
	if err := report.Compare(ctx, e.Reset, f.Rounds, append(arms, others...)...); err != nil {
		return nil, err
	}
	report.Ratio("single", near.single, near.floor)
	report.Ratio("together", near.together, near.floor)
	report.Ratio("batch", near.batch, near.floor)
	for i, p := range peers {
		report.Ratio("single_"+p.Name, near.single, others[i])
		report.Ratio("together_"+p.Name, near.together, others[i])
		report.Ratio("batch_"+p.Name, near.batch, others[i])
	}
	return report, nil
}

func (f *effects) peerArm(e *env.Env, p Peer) *result.Contender {
	return &result.Contender{Name: p.Name, Run: func(ctx context.Context) (result.Measurement, error) {
		if err := p.Load(ctx, f.Events, f.Payload); err != nil {
			return result.Measurement{}, fmt.Errorf("load %s: %w", p.Name, err)
		}
		e.Progress.Start(p.Name, int64(f.Events))
		defer e.Progress.Done()
		t := tally.New(e, f.Events)
		working, stop := context.WithCancel(ctx)
		defer stop()
		ended := make(chan error, 1)
		begun := time.Now()
		go func() { ended <- p.Run(working, func() { t.Add(1) }) }()
		err := t.Wait(ctx)
		took := time.Since(begun)
		stop()
		if err = errors.Join(err, <-ended); err == nil {
			err = once(ctx, e, f.Events, "SELECT count(*), count(DISTINCT event_id) FROM "+effectsTable)
		}
		return result.Measurement{Rate: result.PerSecond(f.Events, took)}, err
	}}
}
