package handler

import (
	"net/netip"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// clientAddress returns the address of the client. clientAddress trusts only the
// part of X-Forwarded-For that trusted proxies wrote: it reads the header from its
// end up to the first address that is no trusted proxy. The entries before that
// address come from the client, who may have invented them.
func clientAddress(c *fiber.Ctx, trusted []netip.Prefix) netip.Addr {
	address, ok := netip.AddrFromSlice(c.Context().RemoteIP())
	if !ok {
		return netip.Addr{}
	}
	address = address.Unmap()
	if len(trusted) == 0 {
		return address
	}
	var hops []string
	for _, header := range c.Request().Header.PeekAll(fiber.HeaderXForwardedFor) {
		hops = append(hops, strings.Split(string(header), ",")...)
	}
	for i := len(hops) - 1; i >= 0 && contains(trusted, address); i-- {
		hop, ok := parseHop(strings.TrimSpace(hops[i]))
		if !ok {
			break
		}
		address = hop
	}
	return address
}

// parseHop reads an entry of X-Forwarded-For. Some proxies add the port, and write IPv6 addresses in
// brackets. If parseHop did not know these forms, all clients of such a proxy would count as one.
func parseHop(text string) (netip.Addr, bool) {
	hop, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	if err != nil {
		withPort, wrong := netip.ParseAddrPort(text)
		hop, err = withPort.Addr(), wrong
	}
	return hop.Unmap().WithZone(""), err == nil
}

func contains(prefixes []netip.Prefix, address netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(address) {
			return true
		}
	}
	return false
}

// LimitKey returns the key by which a rate limit counts a client. For IPv6 the key
// is the /64 network, because one host commonly owns a whole /64 network.
func LimitKey(address netip.Addr) string {
	if address.Is6() {
		if network, err := address.Prefix(64); err == nil {
			return network.String()
		}
	}
	return address.String()
}
