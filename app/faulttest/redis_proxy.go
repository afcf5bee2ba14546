package faulttest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Fault is what a FaultProxy answers in place of Redis. Redis gets the command only if Late is set.
type Fault struct {
	Reply   string // in Redis's protocol, such as "-NOAUTH …\r\n"
	Swallow bool   // the client gets no answer; later commands are answered as usual
	Cut     bool   // the connection ends
	Late    bool   // Redis executes the command, and its answer is swallowed or cut
	Once    bool   // only for the first command that meets the fault
}

// FaultProxy forwards connections to a Redis, parses the protocol, and answers one command with a fault. Its methods
// may be called concurrently.
type FaultProxy struct {
	listener net.Listener
	target   *url.URL

	mu      sync.Mutex
	command string
	fault   *Fault
	hits    int
	usual   map[string]string // fixed answers by command
	conns   map[net.Conn]struct{}
	all     sync.WaitGroup
}

// NewFaultProxy starts a proxy in front of a Redis on a unix socket. upstream is a URL of servertest.Redis
// or of a redistest.Server. The proxy is closed at the end of the test.
func NewFaultProxy(t testing.TB, upstream string) *FaultProxy {
	t.Helper()
	target, err := url.Parse(upstream)
	if err != nil || target.Scheme != "redis-socket" {
		t.Fatalf("no Redis on a unix socket: %v", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen for test proxy: %v", err)
	}
	p := &FaultProxy{listener: listener, target: target, usual: map[string]string{}, conns: map[net.Conn]struct{}{}}
	p.all.Go(p.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		p.Disconnect()
		p.all.Wait()
	})
	return p
}

// URL returns the proxy's URL.
func (p *FaultProxy) URL() string {
	u := url.URL{Scheme: "redis", User: p.target.User, Host: p.listener.Addr().String(), Path: "/" + p.target.Query().Get("db")}
	return u.String()
}

// Answer makes the proxy answer every use of a command with the given reply. A fault of that command takes
// precedence. The command is given by its name in capitals.
func (p *FaultProxy) Answer(command, reply string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.usual[command] = reply
}

// Break begins a fault of a command, and ends the fault that Break began before. The command is given by its name in
// capitals.
func (p *FaultProxy) Break(command string, fault Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.command, p.fault, p.hits = command, &fault, 0
}

// Mend ends the fault, and returns how many commands met it.
func (p *FaultProxy) Mend() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = nil
	return p.hits
}

// Hits returns how many commands have met the fault of the last Break.
func (p *FaultProxy) Hits() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hits
}

// Disconnect ends all connections. New ones are accepted.
func (p *FaultProxy) Disconnect() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		_ = conn.Close()
	}
}

func (p *FaultProxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.all.Go(func() { p.serve(conn) })
	}
}

func (p *FaultProxy) serve(down net.Conn) {
	defer down.Close()
	up, err := net.Dial("unix", p.target.Path)
	if err != nil {
		return
	}
	defer up.Close()
	p.mu.Lock()
	p.conns[down] = struct{}{}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.conns, down)
		p.mu.Unlock()
	}()
	talk := &conversation{down: down, up: up}
	var answers sync.WaitGroup
	answers.Go(func() {
		talk.answers()
		_ = down.Close()
	})
	p.questions(talk)
	_ = up.Close()
	answers.Wait()
}

// questions forwards the client's commands until the connection ends.
func (p *FaultProxy) questions(talk *conversation) {
	in := bufio.NewReader(talk.down)
	for {
		raw, name, err := readCommand(in)
		if err != nil || !p.question(talk, raw, name) {
			return
		}
	}
}

// question handles one command. question returns false if the connection must end.
func (p *FaultProxy) question(talk *conversation, raw []byte, name string) bool {
	reply, fault := p.treat(name)
	late := fault != nil && fault.Late
	switch {
	case late:
	case fault != nil && fault.Cut:
		return false
	case fault != nil && fault.Swallow:
		return true
	case reply != "":
		return talk.promise(promise{reply: []byte(reply)}) == nil
	}
	if late || !strings.HasSuffix(name, "SUBSCRIBE") { // Redis confirms a subscription by a push message, see answer
		if talk.promise(promise{swallow: late, cut: late && fault.Cut}) != nil {
			return false
		}
	}
	_, err := talk.up.Write(raw)
	return err == nil
}

func (p *FaultProxy) treat(name string) (reply string, fault *Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fault == nil || name != p.command {
		return p.usual[name], nil
	}
	p.hits++
	fault = p.fault
	if fault.Once {
		p.fault = nil
	}
	return fault.Reply, fault
}

// conversation is one client's connection. The client gets its answers in the order
// of its commands.
type conversation struct {
	down, up net.Conn
	mu       sync.Mutex
	promised []promise
}

// promise is an answer that the client has not got yet.
type promise struct {
	reply   []byte // nil: Redis's answer
	swallow bool   // Redis's answer is not passed on
	cut     bool   // the connection ends when this answer is due
}

// promise queues an answer.
func (c *conversation) promise(p promise) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.promised = append(c.promised, p)
	return c.flush()
}

// flush sends the proxy's own answers from the queue, up to the first one that must
// come from Redis.
func (c *conversation) flush() error {
	for len(c.promised) > 0 && c.promised[0].reply != nil {
		reply := c.promised[0].reply
		c.promised = c.promised[1:]
		if _, err := c.down.Write(reply); err != nil {
			return err
		}
	}
	return nil
}

func (c *conversation) answers() {
	in := bufio.NewReader(c.up)
	for {
		var value bytes.Buffer
		if err := copyValue(&value, in); err != nil || c.answer(value.Bytes()) != nil {
			return
		}
	}
}

// answer passes a value from Redis on to the client. The value answers the first
// open command, unless it is a push message, which answers none.
func (c *conversation) answer(value []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var due promise
	asked := value[0] != '>' && len(c.promised) > 0
	if asked {
		due, c.promised = c.promised[0], c.promised[1:]
	}
	if due.cut {
		return net.ErrClosed
	}
	if !due.swallow {
		if _, err := c.down.Write(value); err != nil {
			return err
		}
	}
	if !asked {
		return nil
	}
	return c.flush()
}

// readCommand reads an array of strings. readCommand returns the array's bytes and its first string, the command's
// name, in capitals.
func readCommand(in *bufio.Reader) (raw []byte, name string, err error) {
	var all bytes.Buffer
	if err := copyValue(&all, in); err != nil {
		return nil, "", err
	}
	parts := bytes.SplitN(all.Bytes(), []byte("\r\n"), 4)
	if len(parts) < 4 || parts[0][0] != '*' {
		return nil, "", errors.New("not a command")
	}
	return all.Bytes(), strings.ToUpper(string(parts[2])), nil
}

// copyValue copies one value of Redis's protocol, version 2 or 3.
func copyValue(to *bytes.Buffer, from *bufio.Reader) error {
	line, err := from.ReadSlice('\n')
	if err != nil {
		return err
	}
	to.Write(line)
	kind, count := line[0], strings.TrimSpace(string(line[1:]))
	switch kind {
	case '$', '=', '!', '*', '~', '>', '%', '|':
	default:
		return nil
	}
	n, err := strconv.Atoi(count)
	if err != nil {
		return fmt.Errorf("a value that is not understood: %w", err)
	}
	if n < 0 {
		return nil
	}
	switch kind {
	case '$', '=', '!':
		_, err := io.CopyN(to, from, int64(n)+2)
		return err
	case '%', '|':
		n *= 2
	}
	if kind == '|' {
		n++ // the value that the attributes belong to
	}
	for range n {
		if err := copyValue(to, from); err != nil {
			return err
		}
	}
	return nil
}
