package faulttest

import (
	"strings"
	"testing"

	"outboxd/app/servertest/redistest"
)

// Command is a Redis command, and when the client under test sends it.
type Command struct {
	Name     string
	Usual    map[string]string // fixed answers to other commands, by name, so that the client sends this command
	Greeting bool              // the client sends the command when a connection begins
	Password bool              // the client sends the command only if it has a password
}

// Matrix simulates the faults of Redis one after another for one command.
type Matrix struct {
	// Direct is the URL of the Redis itself. Proxied is the URL of the proxy in front
	// of it, for the client under test.
	Direct, Proxied string
	*FaultProxy
	command Command
}

// NewMatrix starts a Redis for this Matrix alone, and a proxy in front of it.
func NewMatrix(t testing.TB, command Command) *Matrix {
	t.Helper()
	direct := strings.Replace(redistest.Start(t).URL(), "?db=0", "?db=1", 1)
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

// What describes the command and the fault, for messages.
func (m *Matrix) What(fault NamedFault) string {
	return m.command.Name + " answered with " + fault.Name
}

// Play makes the proxy answer the command with the fault until Mend. If the command
// belongs to the start of a connection, Play drops the connections, so that clients
// connect again and send the command.
func (m *Matrix) Play(fault NamedFault) {
	m.Break(m.command.Name, fault.Fault)
	if m.command.Greeting {
		m.Disconnect()
	}
}
