package cli

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"outboxd/config"
	"outboxd/domain/replay"
)

// PaceFlags say how carefully a command sends events again.
type PaceFlags struct{ replay.Pace }

// Add adds the flags to a command. The verb says what the command does, such as
// "replay", and events says with what, such as "dead letters".
func (f *PaceFlags) Add(cmd *cobra.Command, verb, events string) {
	cmd.Flags().IntVar(&f.Rate, "rate", 0, "most "+events+" to "+verb+" each second; 0 means no limit")
	cmd.Flags().IntVar(&f.Canary, "canary", 0, "number of "+events+" to "+verb+" first, of each type and error in turn; the rest follows only if all of them succeed")
	DurationVar(cmd.Flags(), &f.CanaryTimeout, "canary-timeout", 5*time.Minute, "how long to wait for the outcome of the canary")
}

// Check returns a config.Mistake if a flag is negative.
func (f *PaceFlags) Check() error {
	if f.Rate < 0 || f.Canary < 0 || f.CanaryTimeout < 0 {
		return config.Mistake{Err: errors.New("--rate, --canary and --canary-timeout must not be negative")}
	}
	return nil
}
