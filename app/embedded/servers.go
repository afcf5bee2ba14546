package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"outboxd/app/embedded/keeper"
	"outboxd/app/embedded/postgresql"
	"outboxd/app/embedded/redis"
)

// Options says which servers to run, and on what data.
type Options struct {
	// DataDir has the servers' data, locks, logs and sockets. Start creates it if it is missing, with mode 0700. For
	// root the mode is 0711, because the servers of root run as another user, who must pass through the folder. Its
	// contents are private in both cases.
	DataDir string
	// Postgres and Redis choose the servers to start or join.
	Postgres, Redis bool
	// PostgresBin is a folder with the programs postgres and initdb. If PostgresBin is empty, Start looks in the usual
	// places.
	PostgresBin string
	// RedisServer is the program redis-server or valkey-server. If RedisServer is empty, Start looks in the usual
	// places. If it finds no server there, it uses the in-process Redis, or fails if DataDir has the queue of a
	// redis-server.
	RedisServer string
	// InProcessRedis chooses the in-process Redis even where a server is installed. The
	// in-process Redis listens on a port of 127.0.0.1, and loses its data when its owner
	// ends. Then each process that joined it receives an error from Failed.
	InProcessRedis bool
	// Ephemeral is for tests: the servers are faster, but may lose data at a power failure.
	// PostgreSQL then allows 400 connections, and redis-server has 512 databases. A crash of
	// these servers or of their owner still loses nothing that was acknowledged.
	Ephemeral bool
	// Logger gets one line for each server, and warnings. Nil discards them.
	Logger *slog.Logger
}

// HasPostgres reports whether a data directory contains the data of an embedded PostgreSQL; true also if that cannot be
// checked. It changes nothing.
func HasPostgres(dataDir string) bool {
	_, err := os.Stat(filepath.Join(dataDir, "postgres"))
	return !errors.Is(err, fs.ErrNotExist)
}

// Addresses returns the URLs that the owners of the servers on a data directory have published, in the form of
// DatabaseURL and RedisURL; "" for a server that has stopped or never ran. Addresses starts nothing, and does not
// connect to the servers. After kill -9 of an owner its URL stays published, although the server has ended.
func Addresses(dataDir string) (databaseURL, redisURL string) {
	database, _ := keeper.Published(dataDir, "postgres")
	queue, _ := keeper.Published(dataDir, "redis")
	return database.URL, queue.URL
}

// Servers are the running servers that this process owns or has joined. All methods may be called concurrently.
type Servers struct {
	postgres, redis *keeper.Keeper
	failed          chan error
	closing         sync.Once
	closed          error
}

// Start starts or joins the chosen servers and returns when they answer. If Start fails, it stops what it started. If
// the program of a server ran and the server did not become ready, the error has the last lines of that server's log.
// Start never deletes data: if it cannot use a data directory, it returns an error. The context bounds only the start.
// A start takes at most two minutes, and if it fails, about 15 s more to stop what it started.
func Start(ctx context.Context, o Options) (*Servers, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithTimeout(ctx, keeper.StartLimit)
	defer cancel()
	dir, err := keeper.OpenFolder(o.DataDir)
	if err != nil {
		return nil, err
	}
	s := &Servers{failed: make(chan error, 2)}
	var keepers []*keeper.Keeper
	if o.Postgres {
		s.postgres = keeper.New(&postgresql.Engine{Folder: dir, Programs: o.PostgresBin, Ephemeral: o.Ephemeral}, dir, o.Logger, s.failed)
		keepers = append(keepers, s.postgres)
	}
	if o.Redis {
		s.redis = keeper.New(&redis.Engine{
			Folder: dir, Program: o.RedisServer, InProcess: o.InProcessRedis, Ephemeral: o.Ephemeral, Logger: o.Logger,
		}, dir, o.Logger, s.failed)
		keepers = append(keepers, s.redis)
	}
	errs := make([]error, len(keepers))
	var all sync.WaitGroup
	for i, k := range keepers {
		all.Go(func() {
			if errs[i] = k.Start(ctx); errs[i] != nil {
				cancel() // the other server need not become ready any more
			}
		})
	}
	all.Wait()
	if err := firstCause(errs); err != nil {
		stopping, stopped := context.WithTimeout(context.Background(), 15*time.Second)
		defer stopped()
		return nil, errors.Join(err, s.Close(stopping))
	}
	return s, nil
}

// firstCause returns the error that made the other starts give up. The errors of the other starts only say that these
// were cancelled.
func firstCause(errs []error) error {
	var cancelled error
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
		cancelled = errors.Join(cancelled, err)
	}
	return cancelled
}

// DatabaseURL returns the database's URL for pgx and psql, over the unix socket; empty if PostgreSQL was not asked for.
func (s *Servers) DatabaseURL() string { return s.postgres.Address() }

// RedisURL returns a URL that asynq.ParseRedisURI understands; empty if Redis was not asked for. The URL is
// redis-socket:///path?db=0, or redis://:password@127.0.0.1:port/0 for the in-process Redis.
func (s *Servers) RedisURL() string { return s.redis.Address() }

// Forgetful reports whether Redis is the in-process one, in this process or in the owner's. The in-process Redis loses
// its queue when that process ends.
func (s *Servers) Forgetful() bool { return s.redis != nil && s.redis.Current().Forgetful }

// Failed receives an error when a server that this process owns ends without Close. Failed also receives an error when
// a joined server is gone and this process could not start it again. The channel is never closed.
func (s *Servers) Failed() <-chan error { return s.failed }

// PostgresProcess returns PostgreSQL's first process; nil if this process does not own PostgreSQL.
func (s *Servers) PostgresProcess() *os.Process { return s.postgres.OS() }

// RedisProcess returns the Redis process; nil if this process does not own one.
func (s *Servers) RedisProcess() *os.Process { return s.redis.OS() }

// Close stops the servers that this process owns and waits for their end. PostgreSQL gets a fast shutdown. Joined
// servers keep running. If the context ends first, Close kills the servers: that loses no data, but the next start has
// to recover. Further calls return the result of the first call.
func (s *Servers) Close(ctx context.Context) error {
	s.closing.Do(func() {
		// The servers do not depend on each other, so stop both at the same time.
		var inPostgres, inRedis error
		var all sync.WaitGroup
		all.Go(func() { inPostgres = s.postgres.Close(ctx) })
		all.Go(func() { inRedis = s.redis.Close(ctx) })
		all.Wait()
		if err := errors.Join(inPostgres, inRedis); err != nil {
			s.closed = fmt.Errorf("stop embedded servers: %w", err)
		}
	})
	return s.closed
}
