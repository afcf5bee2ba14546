package broker

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"outboxd/domain/smallfile"
)

// credentials are a user and a password. If file is set, that file has the password.
// outboxd reads the file for each new connection, so that a changed password needs no
// restart.
type credentials struct {
	username, password string
	file               smallfile.Secret
}

func (c credentials) read() (username, password string, err error) {
	if c.file == "" {
		return c.username, c.password, nil
	}
	password, err = c.file.Read()
	return c.username, password, err
}

// provide is called by go-redis for each new connection (CredentialsProviderContext).
func (c credentials) provide(context.Context) (username, password string, err error) {
	return c.read()
}

// introduce authenticates a new connection if the server asks for a password. go-redis
// itself sends the credentials to the data servers, and sends none to Sentinels. So a
// server that asks here is a Sentinel.
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
		err = conn.AuthACL(ctx, username, password).Err()
	default:
		err = conn.Auth(ctx, password).Err()
	}
	if err != nil {
		// go-redis unwraps the error once, and must not remove the mark of ofGreeting.
		return fmt.Errorf("failed to authenticate: %w", err)
	}
	return nil
}
