package broker

import (
	"context"

	"github.com/redis/go-redis/v9"

	"outboxd/domain"
)

// credentials are a user and a password. If there is a file, it has the password,
// and is read for each new connection, so that a changed one needs no restart.
type credentials struct {
	username, password string
	file               domain.SecretFile
}

func (c credentials) read() (username, password string, err error) {
	if c.file == "" {
		return c.username, c.password, nil
	}
	password, err = c.file.Read()
	return c.username, password, err
}

// provide is go-redis's CredentialsProviderContext.
func (c credentials) provide(context.Context) (username, password string, err error) {
	return c.read()
}

// introduce authenticates a new connection if the server asks for it. go-redis
// gives the data's credentials to the data, and none to Sentinels, so it is a
// Sentinel that asks.
func (c credentials) introduce(ctx context.Context, conn *redis.Conn) error {
	if asked := conn.Ping(ctx).Err(); !redis.HasErrorPrefix(asked, "NOAUTH") {
		return nil // any other fault shows at the first command
	}
	username, password, err := c.read()
	switch {
	case err != nil:
		return err
	case password == "":
		return nil
	case username != "":
		return conn.AuthACL(ctx, username, password).Err()
	default:
		return conn.Auth(ctx, password).Err()
	}
}
