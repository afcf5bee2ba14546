package faulttest

import (
	"strings"
	"testing"

	"outboxd/app/servertest"
)

// Command is a command that a client of Redis sends, and what makes it send it.
type Command struct {
	Name     string
	Usual    map[string]string // what others are answered, so that it is sent
	Greeting bool              // sent when a connection begins
	Password bool              // sent where the client has one
}

// Matrix plays one misbehaviour of Redis after another for one command.
type Matrix struct {
	// Direct is the URL of the Redis itself, and Proxied the one by which the client
	// under test reaches it.
	Direct, Proxied string
	*FaultProxy
	command Command
}

// NewMatrix starts a Redis of its own and a proxy before it.
func NewMatrix(t testing.TB, command Command) *Matrix {
	t.Helper()
	direct := strings.Replace(servertest.OwnRedis(t).URL(), "?db=0", "?db=1", 1)
	proxy := NewFaultProxy(t, direct)
	for name, answer := range command.Usual {
		proxy.Answer(name, answer)
	}
	proxied := proxy.URL()
	if command.Password {
		proxied = strings.Replace(proxied, "://", "://:any@", 1)
	}
	return &Matrix{direct, proxied, proxy, command}
}

// What says which fault is played, for messages.
func (m *Matrix) What(fault NamedFault) string {
	return m.command.Name + " answered with " + fault.Name
}

// Play answers the command with a fault until Mend. A command with which a
// connection begins is made to be sent.
func (m *Matrix) Play(fault NamedFault) {
	m.Break(m.command.Name, fault.Fault)
	if m.command.Greeting {
		m.Disconnect()
	}
}
