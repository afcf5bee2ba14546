package address

import (
	"net"
	"net/netip"
	"strings"
)

// IsLoopback reports whether the host of a listen address or of a Host header is a loopback
// address, localhost, or a name that ends in .localhost (RFC 6761, section 6.3). Only this machine
// can reach such a host. A port and brackets are optional. An empty host means every network
// interface, so IsLoopback returns false for it.
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
