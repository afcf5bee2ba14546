package signin

import (
	"sync"
	"time"
)

const (
	maxFailures   = 10 // so many failed attempts of one client within failureWindow are allowed
	failureWindow = time.Minute
	maxClients    = 10_000 // clients whose failures are remembered
)

// attempts limits how often a client can fail to sign in, so that no client can guess
// tokens fast. attempts counts for each client apart, so that no client can lock another
// client out.
type attempts struct {
	mu      sync.Mutex
	clients map[string]failures
}

type failures struct {
	count int
	until time.Time
}

func newAttempts() *attempts { return &attempts{clients: make(map[string]failures)} }

// wait returns how long a client has to wait before its next attempt to sign in.
func (a *attempts) wait(client string, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.clients[client]
	if f.count < maxFailures || !now.Before(f.until) {
		return 0
	}
	return f.until.Sub(now)
}

// failed counts a failed attempt: a wrong token, or a failed sign-in by OpenID Connect.
func (a *attempts) failed(client string, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.clients[client]
	if !now.Before(f.until) {
		f = failures{until: now.Add(failureWindow)}
	}
	f.count++
	if len(a.clients) >= maxClients {
		a.forget(now)
	}
	a.clients[client] = f
}

// forget drops the clients whose failureWindow is over. If no client's window is over,
// it drops all clients, because a limit of the memory matters more than the counts.
func (a *attempts) forget(now time.Time) {
	for client, f := range a.clients {
		if !now.Before(f.until) {
			delete(a.clients, client)
		}
	}
	if len(a.clients) >= maxClients {
		clear(a.clients)
	}
}
