package env

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"outboxd/migrations/example"
)

// MakeExample makes the example's tables in a schema of their own, because a
// process with the role api needs them. Close drops that schema.
func (e *Env) MakeExample(ctx context.Context) error {
	name := example.Schema(e.schema)
	var exists, used bool
	if err := e.Admin.QueryRow(ctx, schemaSQL, name).Scan(&exists, &used); err != nil {
		return fmt.Errorf("look at the schema %s: %w", name, err)
	}
	if exists {
		return fmt.Errorf("there is a schema %s: choose another with --schema, or drop it if a benchmark that was killed left it", name)
	}
	e.example = name
	_, err := example.Migrations().Up(ctx, e.DB.SQL(), e.Log)
	return err
}

func (e *Env) dropExample(ctx context.Context) error {
	if e.example == "" {
		return nil
	}
	_, err := e.Admin.Exec(ctx, "DROP SCHEMA IF EXISTS "+pgx.Identifier{e.example}.Sanitize()+" CASCADE")
	return err
}
