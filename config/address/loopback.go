package address

import (
	"net"
	"net/netip"
	"strings"
)

// IsLoopback reports whether only this machine can reach an address to listen
// on, or whether only it is meant by a Host header. Port and brackets may be
// there or not. An empty host is every interface, so it is not. Names below
// localhost are this machine's too (RFC 6761, section 6.3).
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
