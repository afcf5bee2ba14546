package address

import (
	"net"
	"net/netip"
	"strings"
)

// IsLoopback reports whether only this machine can reach a listen address, or whether a
// Host header names this machine. A port and brackets are optional. An empty host means
// every network interface, so IsLoopback returns false for it. Names that end in
// .localhost are this machine's too (RFC 6761, section 6.3).
func IsLoopback(address string) bool {
	host := address
	if h, _, err := net.SplitHostPort(address); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
