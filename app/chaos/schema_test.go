package chaos

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// publish publishes every table, as a tool for change data capture does.
func (i *injector) publish(ctx context.Context, kind Kind) (string, func() string, error) {
	return i.change(ctx, kind, i.servers.Postgres, "it",
		i.sql("CREATE PUBLICATION chaos FOR ALL TABLES"), i.sql("DROP PUBLICATION IF EXISTS chaos"))
}

// changeable are the tables that get a column more: outboxd's, and the one of the
// workers' effects.
var changeable = []string{"outbox_sent", "inbox", "chaos.effects", "outbox", "outbox_held", "outbox_dead", "outbox_turns", "outbox_relays"}

// columns are the ways in which a column is added.
var columns = []string{"text", "integer NOT NULL DEFAULT 7", "timestamptz DEFAULT now()"}

// changeTable adds a column to a table in use, and drops it when the fault ends. Adding and
// dropping each wait a second at most for the lock of the table. Without the lock, the table stays
// as it is.
func (i *injector) changeTable(ctx context.Context, kind Kind, target uint64) (string, func() string, error) {
	table, column := changeable[target%uint64(len(changeable))], columns[target>>8%uint64(len(columns))]
	alter := func(what string) func(context.Context) error {
		return func(ctx context.Context) error {
			err := i.sql(fmt.Sprintf("BEGIN; SET LOCAL lock_timeout = '1s'; ALTER TABLE %s %s; COMMIT", table, what))(ctx)
			if refused, ok := errors.AsType[*pgconn.PgError](err); ok && refused.Code == lockNotAvailable {
				return nil
			}
			return err
		}
	}
	return i.change(ctx, kind, i.servers.Postgres, table, alter("ADD COLUMN IF NOT EXISTS chaos "+column), alter("DROP COLUMN IF EXISTS chaos"))
}

const lockNotAvailable = "55P03"
