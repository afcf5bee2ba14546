package faulttest

import (
	"errors"
	"net"
	"sync"
)

// Position says where in an exchange between client and server a connection breaks.
type Position int

// The positions. A request or a reply is what the proxy reads at once, at most 32 KiB. So a longer request counts as
// several requests.
const (
	BeforeRequest Position = iota // the server does not get the request
	AfterRequest                  // the server has the request and has begun to answer; the client gets nothing
	WithinReply                   // the client gets half of the answer
)

// String implements fmt.Stringer.
func (p Position) String() string {
	return [...]string{"before the request", "after the request", "within the reply"}[p]
}

// Trap makes one connection fail or hang at a position in an exchange.
type Trap struct {
	At   Position
	Skip int  // how many requests pass unharmed, on all connections together
	Hold bool // the connection hangs until mend, and is not dropped
}

// armed is a trap that Arm has set.
type armed struct {
	Trap
	left   int           // requests still to pass
	mended chan struct{} // closed when a held connection may go on
	mend   func()
}

// errTrapped is the error of a connection that a trap breaks.
var errTrapped = errors.New("the connection is dropped as the test wants it")

// Arm sets a trap for the next connection that reaches its position. mend lets a held connection continue, with
// everything that was sent meanwhile, or removes the trap if no connection has reached it. mend reports whether a
// connection reached it, and may be called again.
func (p *Proxy) Arm(t Trap) (mend func() (sprung bool)) {
	mended := make(chan struct{})
	a := &armed{Trap: t, left: t.Skip, mended: mended, mend: sync.OnceFunc(func() { close(mended) })}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.traps = append(p.traps, a)
	return sync.OnceValue(func() bool { return p.disarm(a) })
}

func (p *Proxy) disarm(a *armed) (sprung bool) {
	a.mend()
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, set := range p.traps {
		if set == a {
			p.traps = append(p.traps[:i:i], p.traps[i+1:]...)
			return false
		}
	}
	for i, held := range p.sprung {
		if held == a {
			p.sprung = append(p.sprung[:i:i], p.sprung[i+1:]...)
			break
		}
	}
	return true
}

// spring returns the trap that the next request of a connection reaches; nil if
// there is none.
func (p *Proxy) spring() *armed {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, a := range p.traps {
		if a.left > 0 {
			a.left--
			continue
		}
		p.traps = append(p.traps[:i:i], p.traps[i+1:]...)
		p.sprung = append(p.sprung, a)
		return a
	}
	return nil
}

// mendAll releases all held connections.
func (p *Proxy) mendAll() {
	for _, a := range append(p.traps, p.sprung...) {
		a.mend()
	}
	p.traps, p.sprung = nil, nil
}

// exchange is the state of a connection, with the trap that the connection has
// reached.
type exchange struct {
	proxy *Proxy
	mu    sync.Mutex
	trap  *armed
}

// request forwards bytes from the client.
func (e *exchange) request(to net.Conn, bytes []byte) error {
	e.mu.Lock()
	if e.trap == nil {
		e.trap = e.proxy.spring()
	}
	trap := e.trap
	e.mu.Unlock()
	if trap != nil && trap.At == BeforeRequest {
		if err := e.fall(trap); err != nil {
			return err
		}
	}
	_, err := to.Write(bytes)
	return err
}

// reply forwards bytes from the server.
func (e *exchange) reply(to net.Conn, bytes []byte) error {
	e.mu.Lock()
	trap := e.trap
	e.mu.Unlock()
	if trap != nil && trap.At != BeforeRequest {
		if trap.At == WithinReply {
			half := len(bytes) / 2
			if _, err := to.Write(bytes[:half]); err != nil {
				return err
			}
			bytes = bytes[half:]
		}
		if err := e.fall(trap); err != nil {
			return err
		}
	}
	_, err := to.Write(bytes)
	return err
}

// fall breaks the connection, or holds it until the trap is mended. After a hold
// the connection continues normally.
func (e *exchange) fall(trap *armed) error {
	if !trap.Hold {
		return errTrapped
	}
	<-trap.mended
	e.mu.Lock()
	defer e.mu.Unlock()
	e.trap = nil
	return nil
}
