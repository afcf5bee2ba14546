package signin

import (
	"net/url"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// isLocal reports whether a user of this machine makes a request. The monitor must listen
// on a loopback address. The request's Host header must have a loopback address, or a name
// such as localhost (see Ways.IsLoopback): otherwise a web site could point a name of its
// own at 127.0.0.1, and read the answer in the browsers of its visitors (DNS rebinding). And
// nothing may show that a proxy on this machine makes the request, because the proxy's
// clients may be anywhere.
//
// A proxy that adds no header and asks for a loopback name in HTTP/1.1 is taken for a user
// of this machine, unless the configuration shows that there is a proxy.
// docs/guides/sign-in.md says what to do about such a proxy.
func (g *guard) isLocal(c *fiber.Ctx) bool {
	return g.loopback && g.ways.IsLoopback(string(c.Request().Host())) && !g.proxied && !g.namesPeople(c) && !isForwarded(c)
}

// namesPeople reports whether a request comes from a proxy that names people. If that proxy
// names nobody, the request is nobody's.
func (g *guard) namesPeople(c *fiber.Ctx) bool {
	return g.ways.IdentityHeader != "" && c.IsProxyTrusted()
}

// isForwarded reports whether a request has a header that proxies add, or is in HTTP/1.0.
// No browser uses HTTP/1.0. nginx before version 1.29.7 uses HTTP/1.0 as a proxy, unless it
// is configured otherwise. By default nginx also adds no header, and puts the address of the
// monitor into the Host header.
func isForwarded(c *fiber.Ctx) bool {
	if !c.Request().Header.IsHTTP11() {
		return true
	}
	for name := range c.Request().Header.All() {
		switch name := strings.ToLower(string(name)); name {
		case "forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip":
			return true
		default:
			if strings.HasPrefix(name, "x-forwarded") {
				return true
			}
		}
	}
	return false
}

// leadsElsewhere reports whether the OpenID provider sends people back to an address that
// is not a loopback address. If the monitor listens on a loopback address, only a proxy can
// lead from that address to the monitor.
func (w Ways) leadsElsewhere() bool {
	u, err := url.Parse(w.OIDC.RedirectURL)
	return w.OIDC.Issuer != "" && err == nil && u.Host != "" && !w.IsLoopback(u.Host)
}
