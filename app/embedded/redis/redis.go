package redis

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"outboxd/app/embedded/keeper"
)

// redisFolders are folders that may have redis-server and are often not in PATH.
var redisFolders = []string{"/usr/bin", "/usr/local/bin", "/usr/sbin", "/opt/homebrew/bin", "/usr/local/opt/redis/bin", "/opt/homebrew/opt/redis/bin", "/snap/bin"}

// Engine is the engine for Redis or Valkey.
type Engine struct {
	Folder    *keeper.Folder
	Program   string // redis-server or valkey-server; empty: the usual places, and then the in-process one
	InProcess bool   // see embedded.Options, also for the next fields
	Ephemeral bool
	Logger    *slog.Logger
}

// Name implements keeper.Engine.
func (r *Engine) Name() string { return "redis" }

// Title implements keeper.Engine.
func (r *Engine) Title() string { return "Redis" }

// StopSignal implements keeper.Engine.
func (r *Engine) StopSignal() syscall.Signal { return syscall.SIGTERM }

// runningRedis is a Redis process that this process has launched.
type runningRedis struct {
	*keeper.Child
	published keeper.State
}

func (r *runningRedis) State() keeper.State { return r.published }

func (r *runningRedis) Stop(ctx context.Context) error {
	r.StopBy(ctx, syscall.SIGTERM)
	if ctx.Err() != nil {
		return fmt.Errorf("Redis did not shut down in time: %w", ctx.Err()) //nolint:staticcheck // a name
	}
	return nil
}

// Launch implements keeper.Engine.
func (r *Engine) Launch(ctx context.Context, held *os.File) (keeper.Instance, error) {
	program, err := r.program()
	if err != nil {
		return nil, err
	}
	if program == "" {
		return r.launchInProcess()
	}
	printed, err := r.Folder.Account.Version(program, r.Folder.Path)
	if err != nil {
		return nil, err
	}
	sockets, err := r.Folder.Sockets()
	if err != nil {
		return nil, err
	}
	data := r.Folder.File("redis")
	if err := r.Folder.Private(data); err != nil {
		return nil, err
	}
	log, err := r.Folder.OpenLog(r.Name())
	if err != nil {
		return nil, err
	}
	defer log.Close()
	socket := filepath.Join(sockets, "redis.sock")
	c, err := keeper.Spawn(keeper.Command{
		Program: program, Args: []string{"-"}, Env: keeper.Environment(nil), Stdin: strings.NewReader(r.settings(data, socket)),
		Output: log.File, Held: held, Death: syscall.SIGTERM, Account: r.Folder.Account,
	})
	if err != nil {
		return nil, err
	}
	version := parseRedisVersion(printed)
	running := &runningRedis{Child: c, published: keeper.State{
		URL: (&url.URL{Scheme: "redis-socket", Path: socket, RawQuery: "db=0"}).String(), PID: c.OS().Pid,
		Version: version, Data: data, Shell: "redis-cli -s " + keeper.ShellQuote(socket),
	}}
	if err := r.untilReady(ctx, running); err != nil {
		c.StopSoon(syscall.SIGTERM)
		return nil, log.Explain(fmt.Errorf("start Redis %s on %s: %w", version, data, err))
	}
	return running, nil
}

// settings returns the server's configuration. The server reads the configuration from
// standard input, so that there is no file that can become outdated. Asynq's queue must
// never be evicted.
func (r *Engine) settings(data, socket string) string {
	fsync, databases := "everysec", 16
	if r.Ephemeral {
		fsync, databases = "no", 512
	}
	return fmt.Sprintf("port 0\nunixsocket %s\nunixsocketperm 700\ndir %s\ndaemonize no\nlogfile \"\"\nsave \"\"\nappendonly yes\nappendfsync %s\n"+
		"maxmemory-policy noeviction\ndatabases %d\n", redisQuote(socket), redisQuote(data), fsync, databases)
}

func (r *Engine) untilReady(ctx context.Context, running *runningRedis) error {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		// A server that still loads its data answers with the error LOADING: keep
		// waiting.
		err := r.Answers(ctx, running.published)
		if err == nil {
			return nil
		}
		select {
		case <-running.Ended():
			return running.Cause()
		case <-ctx.Done():
			return keeper.NotReady(ctx, err)
		case <-time.After(pause):
		}
	}
}

// Answers implements keeper.Engine. It sends its commands without go-redis, because go-redis logs each refused
// connection, and a server that is starting refuses most connections.
func (r *Engine) Answers(ctx context.Context, s keeper.State) error {
	u, err := url.Parse(s.URL)
	if err != nil {
		return fmt.Errorf("address of Redis: %w", err)
	}
	network, address, password := "unix", u.Path, ""
	if u.Scheme == "redis" {
		network, address = "tcp", u.Host
		password, _ = u.User.Password()
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	replies := bufio.NewReader(conn)
	ask := func(want string, words ...string) error {
		request := fmt.Appendf(nil, "*%d\r\n", len(words))
		for _, word := range words {
			request = fmt.Appendf(request, "$%d\r\n%s\r\n", len(word), word)
		}
		if _, err := conn.Write(request); err != nil {
			return err
		}
		reply, err := replies.ReadString('\n')
		if err != nil {
			return err
		}
		if reply = strings.TrimSpace(reply); reply != want {
			return fmt.Errorf("the server says %q", reply)
		}
		return nil
	}
	if password != "" {
		if err := ask("+OK", "AUTH", password); err != nil {
			return err
		}
	}
	return ask("+PONG", "PING")
}

// program returns the path of redis-server or valkey-server; "" means: use the
// in-process Redis.
func (r *Engine) program() (string, error) {
	if r.InProcess {
		return "", nil
	}
	if r.Program != "" {
		program, err := exec.LookPath(r.Program)
		if err != nil {
			return "", fmt.Errorf("no Redis server at the given place: %w", err)
		}
		return filepath.Abs(program)
	}
	for _, name := range []string{"redis-server", "valkey-server"} {
		if program, err := exec.LookPath(name); err == nil {
			return filepath.Abs(program)
		}
		for _, folder := range redisFolders {
			if program, err := exec.LookPath(filepath.Join(folder, name)); err == nil {
				return program, nil
			}
		}
	}
	if _, err := os.Stat(r.Folder.File("redis")); err == nil {
		// Do not use the in-process Redis here: the old queue would stay on disk, and would come back outdated when the
		// server is installed again.
		return "", errors.New("the data directory has a queue of redis-server, which is no longer installed: " + redisHint)
	}
	return "", nil
}

const redisHint = "apt-get install redis-server (Debian, Ubuntu), dnf install valkey (Fedora), brew install redis (Homebrew), or give the URL of one with --redis-url"

var redisVersion = regexp.MustCompile(`v=(\S+)`)

// parseRedisVersion reads lines such as "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64".
func parseRedisVersion(line string) string {
	if parts := redisVersion.FindStringSubmatch(line); parts != nil {
		return parts[1]
	}
	return "unknown"
}

// redisQuote quotes a value of a Redis configuration.
func redisQuote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(text) + `"`
}
