package live

import (
	"context"
	"fmt"

	"outboxd/app/bench/env"
)

// ProducerArm is one state of the outbox's triggers in which producers are
// measured.
type ProducerArm struct {
	Name    string
	ratio   string
	prepare []string // puts the outbox into this state from that of any other arm
}

// ProducerArms returns the arms of the benchmark producer.
func ProducerArms() []ProducerArm {
	const (
		off    = `ALTER TABLE outbox DISABLE TRIGGER outbox_written`
		on     = `ALTER TABLE outbox ENABLE TRIGGER outbox_written`
		silent = `ALTER TABLE outbox DISABLE TRIGGER bench_notify`
		loud   = `ALTER TABLE outbox ENABLE TRIGGER bench_notify`
		awake  = `UPDATE outbox_relays SET asleep = false`
		asleep = `UPDATE outbox_relays SET asleep = true`
	)
	return []ProducerArm{
		{"no trigger", "", []string{off, silent, awake}},
		{"awake", "awake", []string{on, silent, awake}},
		{"asleep", "asleep", []string{on, silent, asleep}},
		{"always notify", "always", []string{off, loud, awake}},
	}
}

// The trigger to compare with: it notifies on every INSERT, on the channel of
// outboxd's own trigger. The last statement registers a relay, which the arms then
// mark as awake or asleep.
var alwaysSQL = []string{
	`CREATE FUNCTION bench_notify() RETURNS trigger LANGUAGE plpgsql AS
	 $$ BEGIN PERFORM pg_notify('outbox_wake', TG_TABLE_SCHEMA); RETURN NULL; END $$`,
	`CREATE TRIGGER bench_notify AFTER INSERT ON outbox FOR EACH STATEMENT EXECUTE FUNCTION bench_notify()`,
	`INSERT INTO outbox_relays (id, host, pid, version, asleep) VALUES (gen_random_uuid(), 'bench', 0, 'bench', false)`,
}

// Take puts the outbox into the arm's state, and empties it. The statements of alwaysSQL must have run before.
func (a ProducerArm) Take(ctx context.Context, e *env.Env) error {
	for _, sql := range append(a.prepare, "TRUNCATE outbox", "VACUUM outbox_relays") {
		if _, err := e.Admin.Exec(ctx, sql); err != nil {
			return fmt.Errorf("prepare %q: %w", a.Name, err)
		}
	}
	return nil
}
