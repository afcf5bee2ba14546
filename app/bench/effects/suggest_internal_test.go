package effects

import (
	"fmt"
	"testing"

	"github.com/spf13/pflag"

	"outboxd/app/bench/env"
	"outboxd/app/bench/result"
	"outboxd/config"
)

func load(t *testing.T, args ...string) (*config.Config, error) {
	t.Helper()
	flags := pflag.NewFlagSet("outboxd", pflag.ContinueOnError)
	config.AddFlags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return config.Load(flags, nil, t.TempDir(), nil)
}

// Whatever the machine, the configuration and the roles: outboxd accepts what is suggested.
func TestEverySuggestionIsAccepted(t *testing.T) {
	t.Parallel()
	for _, conns := range []int{0, 6, 20, 30, 100, 1000} {
		given := fmt.Sprintf("--database-max-conns=%d", conns)
		c, err := load(t, "--roles=relay", given)
		if err != nil {
			t.Fatal(err)
		}
		e := &env.Env{Config: c}
		for _, h := range []config.Handlers{{Transactions: true}, {Batches: true}} {
			for _, here := range []int{1, 8, 16, 64, 128, 512, 3000, config.MaxTasks} {
				for _, n := range around(here, config.MaxTasks) {
					k := &kind{handlers: h, tries: []int{n}, arms: []*result.Contender{{}}}
					s := k.suggestion(e)
					for _, roles := range []string{"all", "worker", "relay,worker"} {
						if _, err := load(t, append([]string{"--roles=" + roles, given}, s.Flags...)...); err != nil {
							t.Errorf("%s, roles %s, suggested %v: %v", given, roles, s.Flags, err)
						}
					}
				}
			}
		}
	}
}
