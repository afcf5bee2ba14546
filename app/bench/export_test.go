package bench

import (
	"context"
	"fmt"

	"outboxd/app/bench/env"
)

// ProducerArms are the names of the arms of the benchmark producer.
var ProducerArms = []string{"no trigger", "awake", "asleep", "always notify"}

// TakeProducerState puts the outbox into an arm's state. The benchmark must
// have run before.
func TakeProducerState(ctx context.Context, e *env.Env, name string) error {
	for _, arm := range producerArms() {
		if arm.name == name {
			return takeState(ctx, e, arm)
		}
	}
	return fmt.Errorf("no arm %q", name)
}
