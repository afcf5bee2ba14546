package deliver

import (
	"net"
	"time"
)

// Names that the external tests use.

// Sign is sign, without the secrets.
func Sign(references []string, id string, at time.Time, body []byte) (string, error) {
	signature, _, err := sign(references, id, at, body)
	return signature, err
}

// GuardOf returns a Guard on a machine with these addresses.
func GuardOf(own func() ([]net.Addr, error)) *Guard { return &Guard{own: own} }

// Control checks the address of a connection as the guard's dialer does.
func Control(g *Guard, address string) error { return g.control("tcp", address, nil) }
