package faulttest

import (
	"errors"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Proxy forwards connections from a port on 127.0.0.1 to a server, and can simulate outages of that server. Its methods
// may be called concurrently.
type Proxy struct {
	t        testing.TB
	upstream *url.URL // nil if the upstream was no URL
	network  string
	target   string
	addr     string

	mu       sync.Mutex
	listener net.Listener // nil while refusing
	conns    map[net.Conn]struct{}
	flowing  chan struct{} // closed while bytes may flow
	lasting  chan struct{} // closed when the present connections are forgotten
	over     chan struct{} // closed by Close
	traps    []*armed      // traps that no connection has reached yet
	sprung   []*armed      // traps that a connection has reached; they may hold the connection
	closed   bool
	all      sync.WaitGroup
}

// NewProxy starts a proxy in front of a server. The address of the server is a URL as the functions and servers of
// package servertest return it, the path of a socket, or host:port. The proxy is closed at the end of the test.
func NewProxy(t testing.TB, upstream string) *Proxy {
	t.Helper()
	p := &Proxy{t: t, conns: map[net.Conn]struct{}{}, flowing: make(chan struct{}), lasting: make(chan struct{}), over: make(chan struct{})}
	close(p.flowing)
	p.network, p.target = "tcp", upstream
	switch u, err := url.Parse(upstream); {
	case strings.HasPrefix(upstream, "/"):
		p.network = "unix"
	case err != nil || u.Host == "" && u.Path == "":
	case u.Scheme == "redis-socket":
		p.upstream, p.network, p.target = u, "unix", u.Path
	case u.Scheme == "postgres" && strings.HasPrefix(u.Query().Get("host"), "/"):
		p.upstream, p.network, p.target = u, "unix", filepath.Join(u.Query().Get("host"), ".s.PGSQL."+u.Query().Get("port"))
	case u.Scheme == "postgres" || u.Scheme == "redis":
		p.upstream, p.target = u, u.Host
	}
	p.listen("127.0.0.1:0")
	t.Cleanup(p.Close)
	return p
}

// Addr returns host:port, which never changes.
func (p *Proxy) Addr() string { return p.addr }

// URL returns the URL of upstream, but with the proxy's address. URL fails the test if upstream was not given as a URL.
func (p *Proxy) URL() string {
	p.t.Helper()
	if p.upstream == nil {
		p.t.Fatal("URL of a proxy whose upstream has none")
	}
	u := *p.upstream
	query := u.Query()
	u.Host = p.addr
	switch u.Scheme {
	case "redis-socket":
		u.Scheme, u.Path = "redis", "/"+query.Get("db")
		query.Del("db")
	case "postgres":
		query.Del("host")
		query.Del("port")
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// Stall keeps all connections open, accepts new ones, and forwards nothing, until Resume.
func (p *Proxy) Stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.flowing:
		p.flowing = make(chan struct{})
	default:
	}
}

// Forget makes the existing connections dead without a sign, like a NAT device that has
// forgotten these connections. The proxy then passes on neither bytes nor the end of a
// connection. New connections work.
func (p *Proxy) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.lasting)
	p.lasting = make(chan struct{})
}

// Reset drops all existing connections by RST, as a machine does that has crashed and
// started again. New ones are accepted.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reset()
}

// Refuse drops all existing connections and refuses new ones, until Resume.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
	}
	p.reset()
}

// Resume ends Stall and Refuse.
func (p *Proxy) Resume() {
	p.t.Helper()
	p.mu.Lock()
	select {
	case <-p.flowing:
	default:
		close(p.flowing)
	}
	refusing := p.listener == nil && !p.closed
	p.mu.Unlock()
	if refusing {
		p.listen(p.addr)
	}
}

// Close ends the proxy and all its connections, and waits for its goroutines.
func (p *Proxy) Close() {
	p.mu.Lock()
	if !p.closed {
		close(p.over)
	}
	p.closed = true
	p.mu.Unlock()
	p.Refuse()
	p.mu.Lock()
	select {
	case <-p.flowing:
	default:
		close(p.flowing)
	}
	p.mendAll()
	p.mu.Unlock()
	p.all.Wait()
}

func (p *Proxy) listen(addr string) {
	p.t.Helper()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		p.t.Fatalf("listen for test proxy: %v", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.addr, p.listener = listener.Addr().String(), listener
	p.all.Go(func() { p.accept(listener) })
}

func (p *Proxy) accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		p.all.Go(func() { p.serve(conn, listener) })
	}
}

func (p *Proxy) serve(down net.Conn, listener net.Listener) {
	up, err := net.Dial(p.network, p.target)
	if err != nil {
		reset(down)
		return
	}
	if !p.keep(listener, down, up) {
		reset(down)
		reset(up)
		return
	}
	p.mu.Lock()
	forgotten := p.lasting
	p.mu.Unlock()
	var both sync.WaitGroup
	e := &exchange{proxy: p}
	both.Go(func() { p.copy(up, down, forgotten, e.request) })
	both.Go(func() { p.copy(down, up, forgotten, e.reply) })
	both.Wait()
	p.forget(down, up)
}

// keep records a pair of connections. keep returns false if the proxy has begun to
// refuse connections since it accepted this one.
func (p *Proxy) keep(listener net.Listener, conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != listener {
		return false
	}
	for _, conn := range conns {
		p.conns[conn] = struct{}{}
	}
	return true
}

func (p *Proxy) forget(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range conns {
		delete(p.conns, conn)
		_ = conn.Close()
	}
}

// copy forwards one direction of a connection. When that direction ends, it closes both sides.
func (p *Proxy) copy(to, from net.Conn, forgotten <-chan struct{}, forward func(to net.Conn, bytes []byte) error) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		flowing := p.flowing
		p.mu.Unlock()
		// During a stall, wait here: even the end of a connection is not passed on.
		<-flowing
		select {
		case <-forgotten:
			<-p.over
		default:
		}
		if n > 0 {
			err = errors.Join(err, forward(to, buffer[:n]))
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				reset(to)
			}
			if errors.Is(err, errTrapped) {
				reset(from)
			}
			_ = to.Close()
			_ = from.Close()
			return
		}
	}
}

// reset drops all connections. A goroutine that waits for the end of a stall finds its connections closed afterwards.
func (p *Proxy) reset() {
	for conn := range p.conns {
		reset(conn)
		delete(p.conns, conn)
	}
}

func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
