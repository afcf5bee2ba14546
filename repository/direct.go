package repository

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
)

// pingPatience bounds how long a connection may take to say that it lives.
const pingPatience = 5 * time.Second

// connectDirectly opens a connection outside the pool, for what belongs to a
// session: LISTEN and advisory locks. url ("" means the pool's own) has to lead
// past a PgBouncer in transaction mode, which knows no sessions.
func (d *Database) connectDirectly(ctx context.Context, url string) (*pgx.Conn, error) {
	config := d.pool.Config().ConnConfig
	if url != "" {
		own, err := pgx.ParseConfig(url)
		if err != nil {
			return nil, domain.Errorf(domain.CodeInvalid, "the URL for direct connections cannot be read")
		}
		own.ConnectTimeout = config.ConnectTimeout
		config = own
	}
	conn, err := d.session.connect(ctx, config)
	return conn, translate(err, "connect directly")
}

// hangUp closes a connection without waiting for a server that is gone.
func hangUp(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}

func pingSoon(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, pingPatience)
	defer cancel()
	return conn.Ping(ctx)
}

// schema names the schema that the pool works in.
func (d *Database) schema(ctx context.Context) (name string, err error) {
	err = d.sql.QueryRowContext(ctx, "SELECT current_schema()").Scan(&name)
	return name, translate(err, "ask for the schema")
}
