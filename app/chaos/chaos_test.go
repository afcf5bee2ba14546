package chaos

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"outboxd/app/servertest"
	"outboxd/app/servertest/postgrestest"
	"outboxd/app/servertest/redistest"
)

// The flags with which make chaos, make cluster and make conservation ask for more than
// make test does.
var (
	duration = flag.Duration("chaos.duration", 9*time.Second, "how long faults happen")
	seed     = flag.Uint64("chaos.seed", 1, "the seed of the random faults")
	seeds    = flag.Int("chaos.seeds", 1, "number of runs, each with the next seed")
	events   = flag.Int("chaos.events", 0, "events that pass into Redis, of a run that counts a number of events; 0: no such run")
	effects  = flag.Int("chaos.effects", 2_500, "events that take effect, of a run that counts a number of events")
	only     = flag.String("chaos.only", "", "parts of the names of the only faults to fall, with commas between; empty: all")
	speed    = flag.Float64("chaos.rate", 200, "events a second of all producers, in a run that counts none")
	cluster  = flag.Bool("chaos.cluster", false, "break a Redis Cluster too")
	outboxd  = flag.String("chaos.outboxd", "", "the outboxd to break; empty: this test binary, race detector and all")
)

// TestConservation sends a number of events through eight pollers in four relays, while
// processes are killed and PostgreSQL's backends terminated all the time.
func TestConservation(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name            string
		events, workers int
	}{
		{"into Redis", *events, 0},
		{"to their effect", *effects, 2},
	} {
		if c.events == 0 {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			repeat(t, func(o Options) Options {
				o.Profile, o.Events, o.Duration = Conservation(), c.events, *duration
				o.Servers = directly(postgrestest.Start(t), redistest.Start(t))
				o.Largest, o.Backlog, o.Workers, o.Leaving = 1000, c.events/2, c.workers, c.workers > 0
				return o
			})
		})
	}
}

// TestChaos runs the profile General, and counts what took effect.
func TestChaos(t *testing.T) {
	t.Parallel()
	repeat(t, func(o Options) Options {
		o.Profile, o.Duration, o.Rate = General(*duration), *duration, *speed
		if *only != "" {
			o.Profile = o.Profile.Only(strings.Split(*only, ",")...)
		}
		postgres, disk := postgrestest.StartOnDisk(t)
		o.Servers = viaNetwork(t, directly(postgres, redistest.Start(t)))
		if disk != nil {
			o.Servers.PostgresDisk = disk
		}
		if clock := postgres.OwnClock(); clock != nil {
			o.Servers.PostgresClock = clock
		}
		o.Largest, o.Workers, o.Failing, o.Keyed, o.Ordered, o.Wide = 20, 2, 0.003, true, true, true
		return o
	})
}

// repeat runs once for each seed, and prints the table.
func repeat(t *testing.T, with func(Options) Options) {
	t.Helper()
	say := func(format string, args ...any) { fmt.Fprintf(t.Output(), format+"\n", args...) }
	var reports []*Report
	for i := range *seeds {
		o := with(Options{
			Seed: *seed + uint64(i), Commands: commands(t), Folder: t.TempDir(), Log: slog.New(slog.DiscardHandler), Say: say,
			Relays: 4, Pollers: 2, Producers: 3,
		})
		say("profile %s, seed %d", o.Profile.Name, o.Seed)
		report, err := Run(t.Context(), o)
		if err != nil {
			t.Error(err)
		}
		report.Write(t.Output())
		if !report.OK() {
			t.Errorf("a promise is broken; the seed is %d", o.Seed)
		}
		if report.Last != nil && o.Events > 0 && report.Last.Committed < o.Events {
			t.Errorf("%d events have committed, want %d and more", report.Last.Committed, o.Events)
		}
		reports = append(reports, report)
	}
	WriteTable(t.Output(), reports)
}

func commands(t *testing.T) Commands {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	own := func(args ...string) *exec.Cmd {
		cmd := exec.Command(binary, args...)
		cmd.Env = append(servertest.Environ(), "GORACE=atexit_sleep_ms=0")
		return cmd
	}
	return Commands{
		Own: func() *exec.Cmd { return own() },
		Outboxd: func(args ...string) *exec.Cmd {
			if *outboxd == "" {
				cmd := own(args...)
				cmd.Env = append(cmd.Env, processVariable+"=1")
				return cmd
			}
			cmd := exec.Command(*outboxd, args...)
			cmd.Env = servertest.Environ()
			return cmd
		},
	}
}
