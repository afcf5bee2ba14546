package consumer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/client/outage"
)

// checkConfig returns an error if there is no handler, if a queue has no name, or
// if every queue has a priority that Asynq does not serve.
func checkConfig(config asynq.Config, handler asynq.Handler) error {
	if handler == nil {
		return errors.New("the handler is nil: give Run an asynq.ServeMux with the handlers of your task types")
	}
	served := 0
	for queue, priority := range config.Queues {
		if strings.TrimSpace(queue) == "" {
			return errors.New("config.Queues has a queue without a name: name the queue of the events, such as \"default\"")
		}
		if priority > 0 {
			served++
		}
	}
	if len(config.Queues) > 0 && served == 0 {
		return errors.New("config.Queues has no queue with a priority above 0, so that none is served: write 1 for each")
	}
	return nil
}

// hopeless lists the errors of Redis with which Run gives up. An entry is about the
// errors that contain one of its words, and says what to change. After other errors of
// Redis, such as LOADING or CLUSTERDOWN, Run waits.
var hopeless = []struct {
	words []string
	cure  string
}{
	{
		[]string{"WRONGPASS", "NOAUTH", "invalid username-password pair", "invalid password", "without any password configured", "no password is set"},
		"Redis does not accept the user name and the password: correct Username and Password of the RedisConnOpt, or the user in Redis",
	},
	{
		[]string{"NOPERM", "No permissions to access"},
		"Redis does not let its user do what a worker needs: ACL SETUSER NAME +@all -@dangerous +info +select '~asynq:*' '&asynq:*' does",
	},
	{
		[]string{"DB index is out of range", "invalid DB index", "SELECT is not allowed"},
		"this Redis does not have the database: correct DB of the RedisConnOpt, to the one of outboxd's --redis-url",
	},
	{
		[]string{"unknown command", "unknown subcommand"},
		"this is no Redis or Valkey of version 6.2 or later, or a command was renamed in its redis.conf",
	},
}

// refused returns the error with which Run gives up, or nil if waiting for Redis
// may help.
func refused(err error) error {
	if answer, ok := errors.AsType[redis.Error](err); ok {
		for _, h := range hopeless {
			for _, word := range h.words {
				if strings.Contains(answer.Error(), word) {
					return fmt.Errorf("%s: %w", h.cure, err)
				}
			}
		}
		return nil
	}
	if name, ok := errors.AsType[*net.DNSError](err); ok && name.IsNotFound {
		return fmt.Errorf("there is no host %s: correct Addr of the RedisConnOpt: %w", name.Name, err)
	}
	if address, ok := errors.AsType[*net.AddrError](err); ok {
		return fmt.Errorf("%q is no address: write Addr of the RedisConnOpt as host:port: %w", address.Addr, err)
	}
	_, record := errors.AsType[tls.RecordHeaderError](err)
	if record {
		return fmt.Errorf("this Redis does not speak TLS: leave TLSConfig of the RedisConnOpt out, or name its TLS port: %w", err)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("the certificate of Redis is not trusted: correct RootCAs or ServerName of the RedisConnOpt's TLSConfig: %w", err)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return fmt.Errorf("the certificate of Redis is not trusted: correct RootCAs of the RedisConnOpt's TLSConfig: %w", err)
	}
	return nil
}

// awaitRedis waits until Redis answers or ctx ends, and returns nil. If Redis
// refuses this client, awaitRedis returns an error that says what to change.
func awaitRedis(ctx context.Context, client redis.UniversalClient, logger asynq.Logger) error {
	for told := false; ; told = true {
		err := client.Ping(ctx).Err()
		if ctx.Err() != nil {
			return nil //nolint:nilerr // Run ends because ctx has ended, and that is no error
		}
		if err == nil {
			return nil
		}
		if err := refused(err); err != nil {
			return err
		}
		switch {
		case told:
		case logger != nil:
			logger.Warn("waiting for Redis: ", err)
		default:
			slog.Default().WarnContext(ctx, "waiting for Redis", "error", err)
		}
		if !pause(ctx, 250*time.Millisecond+rand.N(500*time.Millisecond)) {
			return nil
		}
	}
}

// Check tests whether an event could be confirmed in the database and, for a
// Consumer of NewRemote, whether Redis would accept an acknowledgement. Check changes
// nothing. Call Check before Run, because a task whose event cannot be confirmed or
// acknowledged would go back to its queue again and again.
//
// An error of Check names what to change, as far as Check knows it. If outage.Is is
// true for the error of Check, the problem may pass by itself.
func (c *Consumer[Tx]) Check(ctx context.Context) error {
	tx, rollback, err := c.begin(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", beginCure(err), err)
	}
	defer rollback()
	return c.inbox.check(ctx, tx.QueryRow)
}

func beginCure(err error) string {
	switch state := outage.State(err); {
	case state == "28P01", state == "28000":
		return "PostgreSQL does not accept the user name and the password of the consumer's database: correct its URL, or the role"
	case state == "3D000":
		return "the consumer's database does not exist: correct its URL, or create it"
	case outage.Is(err), state == "":
		return "the consumer's database cannot be reached: correct its URL, or wait until it runs"
	default:
		return "no transaction begins in the consumer's database"
	}
}
