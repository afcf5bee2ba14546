package cli

import (
	"time"

	"github.com/spf13/pflag"

	"outboxd/domain/words"
)

// durationFlag reads durations as words.ParseDuration does: also with days (2d, 3d4h), and as the
// pages and commands print them.
type durationFlag time.Duration

var _ pflag.Value = (*durationFlag)(nil)

// DurationVar adds a flag with a duration, such as 90s, 2d or 3d4h.
func DurationVar(flags *pflag.FlagSet, into *time.Duration, name string, usual time.Duration, usage string) {
	*into = usual
	flags.Var((*durationFlag)(into), name, usage)
}

func (d *durationFlag) Set(text string) error {
	read, err := words.ParseDuration(text)
	*d = durationFlag(read)
	return err
}

func (d *durationFlag) String() string { return time.Duration(*d).String() }

func (d *durationFlag) Type() string { return "duration" }
