package redis

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/alicebob/miniredis/v2"

	"outboxd/app/embedded/keeper"
)

// inProcess is a Redis inside this process, for machines where no server is installed, and for Engine.InProcess.
// inProcess has no unix socket, only TCP, so a password keeps other users of the machine out.
type inProcess struct {
	server    *miniredis.Miniredis
	published keeper.State
	cancel    context.CancelFunc
	gone      chan struct{}
}

func (r *Engine) launchInProcess() (keeper.Instance, error) {
	server := miniredis.NewMiniRedis()
	password := rand.Text()
	server.RequireAuth(password)
	if err := server.StartAddr("127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("start in-process Redis: %w", err)
	}
	address := url.URL{Scheme: "redis", User: url.UserPassword("", password), Host: server.Addr(), Path: "/0"}
	ctx, cancel := context.WithCancel(context.Background())
	p := &inProcess{server: server, cancel: cancel, gone: make(chan struct{}), published: keeper.State{
		URL: address.String(), Version: "in-process", Data: "memory", Forgetful: true,
		Shell: fmt.Sprintf("redis-cli -u with the url from %s", keeper.ShellQuote(r.Folder.File("redis.json"))), // the log must not have the password
	}}
	go p.run(ctx)
	const forgets = "an in-process Redis, which is slow and FORGETS ITS QUEUE AT EXIT"
	if r.InProcess {
		r.Logger.Warn("the queue is in " + forgets)
	} else {
		r.Logger.Warn("no redis-server or valkey-server is installed, so outboxd uses " + forgets + "; " + redisHint)
	}
	return p, nil
}

// run makes keys expire: it tells the in-process Redis regularly how much time has passed,
// because that Redis has no clock of its own.
func (p *inProcess) run(ctx context.Context) {
	defer close(p.gone)
	defer p.server.Close()
	const step = 100 * time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			p.server.FastForward(now.Sub(last))
			last = now
		}
	}
}

func (p *inProcess) State() keeper.State    { return p.published }
func (p *inProcess) OS() *os.Process        { return nil }
func (p *inProcess) Ended() <-chan struct{} { return p.gone }
func (p *inProcess) Cause() error           { return context.Canceled }

func (p *inProcess) Stop(context.Context) error {
	p.cancel()
	<-p.gone
	return nil
}
