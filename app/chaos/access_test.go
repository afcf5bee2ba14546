package chaos

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/go-redis/v9"

	"outboxd/migrations"
)

// The processes connect to PostgreSQL and Redis as users of their own, but to a cluster
// of Redis as the default user. Faults change the credentials, rights and settings of
// these users, and undo the change at their end. The user of PostgreSQL owns outboxd's
// tables.
const (
	fleetUser     = "fleet"
	fleetPassword = "given"
)

// asFleet returns the servers with the processes' users in Database and Redis. It
// leaves the address of a cluster as it is.
func (s Servers) asFleet() (Servers, error) {
	database, err := url.Parse(s.Database)
	if err != nil {
		return s, fmt.Errorf("read the database address: %w", err)
	}
	database.User = url.User(fleetUser)
	s.Database = database.String()
	if s.Cluster != nil { // no fault touches its users
		return s, nil
	}
	memory, err := url.Parse(s.Redis)
	if err != nil {
		return s, fmt.Errorf("read the Redis address: %w", err)
	}
	memory.User = url.UserPassword(fleetUser, fleetPassword)
	s.Redis = memory.String()
	return s, nil
}

// A fault may change a setting of the database. So the harness gives its own role the present value
// of each setting, because a role's setting has precedence.
const keepSettingSQL = `ALTER ROLE CURRENT_USER SET %s FROM CURRENT`

const admitSQL = `
CREATE ROLE ` + fleetUser + ` LOGIN IN ROLE pg_monitor;
CREATE SCHEMA ` + schema + ` AUTHORIZATION ` + fleetUser

// admit creates the processes' user on both servers, and outboxd's tables as that
// user. On a cluster of Redis it creates no user.
func (r *run) admit(ctx context.Context) error {
	for _, s := range settings {
		if _, err := r.admin.Exec(ctx, fmt.Sprintf(keepSettingSQL, s.name)); err != nil {
			return fmt.Errorf("keep the harness's settings: %w", err)
		}
	}
	if _, err := r.admin.Exec(ctx, admitSQL); err != nil {
		return fmt.Errorf("make the processes' role: %w", err)
	}
	config := r.admin.Config().Copy()
	config.ConnConfig.User = fleetUser
	own, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("connect as the processes' role: %w", err)
	}
	defer own.Close()
	db := stdlib.OpenDBFromPool(own)
	defer func() { _ = db.Close() }()
	if _, err := migrations.Core().Up(ctx, db, r.o.Log); err != nil {
		return err
	}
	if r.o.Servers.Cluster != nil {
		return nil
	}
	return admitToRedis(ctx, r.queue.redis)
}

// admitToRedis creates the processes' Redis user. Redis forgets its users when it
// ends, so admitToRedis is called again after each start.
func admitToRedis(ctx context.Context, client redis.UniversalClient) error {
	err := client.Do(ctx, "ACL", "SETUSER", fleetUser, "reset", "on", ">"+fleetPassword, "~*", "&*", "+@all").Err()
	if err != nil {
		return fmt.Errorf("make the processes' Redis user: %w", err)
	}
	return nil
}

// redisRights are the commands and categories of which a fault takes one away from the
// processes' Redis user.
var redisRights = []string{"evalsha", "eval", "select", "info", "get", "set", "subscribe", "publish", "script", "client", "hello", "@scripting", "@read", "@all"}

// loseRedis applies ACL rules to the processes' Redis user: those of the parameter lose now, and
// those of the parameter again when the fault ends. Both times it closes the user's connections.
func (i *injector) loseRedis(ctx context.Context, kind Kind, hit string, lose, again []any) (string, func() string, error) {
	become := func(rules []any) func(context.Context) error {
		return func(ctx context.Context) error {
			return errors.Join(
				i.redis.Do(ctx, append([]any{"ACL", "SETUSER", fleetUser}, rules...)...).Err(),
				i.redis.Do(ctx, "CLIENT", "KILL", "USER", fleetUser).Err(),
			)
		}
	}
	return i.change(ctx, kind, i.servers.RedisServer, hit, become(lose), become(again))
}

// right is a right of the processes' role.
type right struct {
	what   string
	public bool // everybody has it as well
}

var rights = []right{
	{what: "SELECT ON outbox"},
	{what: "DELETE ON outbox"},
	{what: "INSERT ON outbox"},
	{what: "INSERT ON outbox_sent"},
	{what: "SELECT ON outbox_sent"},
	{what: "INSERT ON outbox_held"},
	{what: "INSERT ON outbox_dead"},
	{what: "INSERT ON inbox"},
	{what: "INSERT ON outbox_entries"},
	{what: "UPDATE ON outbox_account"},
	{what: "SELECT ON outbox_turns"},
	{what: "INSERT ON outbox_turns"},
	{what: "SELECT ON outbox_queue_identity"},
	{what: "UPDATE ON outbox_queue_identity"},
	{what: "UPDATE ON outbox_relays"},
	{what: "SELECT ON outboxd_migrations"},
	{what: "EXECUTE ON FUNCTION outbox_pass_turn", public: true},
	{what: "EXECUTE ON FUNCTION outbox_advance", public: true},
	{what: "EXECUTE ON FUNCTION outbox_new_id", public: true},
	{what: "USAGE ON SCHEMA " + schema},
	{what: "INSERT ON ALL TABLES IN SCHEMA " + schema},
	{what: "SELECT ON ALL TABLES IN SCHEMA " + schema},
}

func (r right) from() string {
	if r.public {
		return "PUBLIC, " + fleetUser
	}
	return fleetUser
}

// takeRight takes away a right until the fault ends. Even the owner of a table can lose
// a right on it.
func (i *injector) takeRight(ctx context.Context, kind Kind, r right) (string, func() string, error) {
	return i.change(ctx, kind, i.servers.Postgres, r.what,
		i.sql("REVOKE "+r.what+" FROM "+r.from()), i.sql("GRANT "+r.what+" TO "+r.from()))
}

// takeLogin forbids the processes' role to log in, and ends its connections. The fault's
// end allows logins again.
func (i *injector) takeLogin(ctx context.Context, kind Kind) (string, func() string, error) {
	return i.change(ctx, kind, i.servers.Postgres, "it", i.sql("ALTER ROLE "+fleetUser+" NOLOGIN", disconnectSQL), i.sql("ALTER ROLE "+fleetUser+" LOGIN"))
}

const disconnectSQL = `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = '` + fleetUser + `'`

// sql returns a function that runs statements, one after another.
func (i *injector) sql(statements ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		for _, statement := range statements {
			if _, err := i.admin.Exec(ctx, statement, pgx.QueryExecModeSimpleProtocol); err != nil {
				return fmt.Errorf("%s: %w", statement, err)
			}
		}
		return nil
	}
}
