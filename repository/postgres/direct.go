package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
)

// PingPatience is how long a ping waits for its answer.
const PingPatience = 5 * time.Second

// ConnectDirectly opens a connection outside the pool, for LISTEN and for advisory locks,
// because these belong to a session. url is where to connect; "" means the pool's URL.
// url must not lead through a PgBouncer in transaction mode, which gives a client no
// session of its own.
func (d *Database) ConnectDirectly(ctx context.Context, url string) (*pgx.Conn, error) {
	config := d.pool.Config().ConnConfig
	if url != "" {
		own, err := pgx.ParseConfig(url)
		if err != nil {
			return nil, domain.Errorf(domain.CodeInvalid, "the URL for direct connections cannot be read")
		}
		own.ConnectTimeout, own.DialFunc = config.ConnectTimeout, config.DialFunc
		config = own
	}
	conn, err := d.session.connect(ctx, config)
	return conn, Translate(err, "connect directly")
}

// HangUp closes a connection. HangUp waits for the server at most a second, because the
// server may be gone.
func HangUp(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}

// Schema returns the name of outboxd's schema.
func (d *Database) Schema() string { return d.session.schema }
