package deliver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// ErrRefusedAddress is the error for an address to which deliveries must not go.
var ErrRefusedAddress = errors.New("refused address")

// Guard refuses the addresses of this machine and of private networks. Without a Guard, a person
// who may write a subscription could reach servers that only this machine may reach. A Guard is
// safe for concurrent use.
type Guard struct {
	allowed []netip.Prefix
	own     func() ([]net.Addr, error)
}

// NewGuard returns a Guard that allows the given networks as exceptions.
func NewGuard(allowed ...netip.Prefix) *Guard {
	return &Guard{allowed: allowed, own: net.InterfaceAddrs}
}

// reserved has networks without public servers, in addition to those that package netip
// knows. The networks come from IANA's special-purpose registries of IPv4 and IPv6.
var reserved = []struct {
	network netip.Prefix
	what    string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "of this network"},
	{netip.MustParsePrefix("100.64.0.0/10"), "of a carrier's private network (CGNAT)"},
	{netip.MustParsePrefix("192.0.0.0/24"), "reserved"},
	{netip.MustParsePrefix("192.0.2.0/24"), "for documentation"},
	{netip.MustParsePrefix("198.18.0.0/15"), "for benchmarks"},
	{netip.MustParsePrefix("198.51.100.0/24"), "for documentation"},
	{netip.MustParsePrefix("203.0.113.0/24"), "for documentation"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "of a private translation to IPv4"},
	{netip.MustParsePrefix("100::/64"), "to be discarded"},
	{netip.MustParsePrefix("2001::/23"), "reserved"}, // including Teredo, which carries an IPv4 address
	{netip.MustParsePrefix("2001:db8::/32"), "for documentation"},
	{netip.MustParsePrefix("3fff::/20"), "for documentation"},
	{netip.MustParsePrefix("5f00::/16"), "of a private segment routing network"},
	{netip.MustParsePrefix("fec0::/10"), "of a private site"},
}

// carriers has IPv6 networks whose addresses contain an IPv4 address. Packets to such an
// address finally go to that IPv4 address.
var carriers = []struct {
	network netip.Prefix
	at      int // index of the first byte of the IPv4 address
}{
	{netip.MustParsePrefix("::/96"), 12},           // IPv4-compatible
	{netip.MustParsePrefix("::ffff:0:0:0/96"), 12}, // IPv4-translated
	{netip.MustParsePrefix("64:ff9b::/96"), 12},    // NAT64
	{netip.MustParsePrefix("2002::/16"), 2},        // 6to4
}

// Check returns nil if deliveries may go to an address. If not, Check returns an
// ErrRefusedAddress that says why.
func (g *Guard) Check(address netip.Addr) error {
	address = address.Unmap().WithZone("")
	for _, network := range g.allowed {
		if network.Contains(address) {
			return nil
		}
	}
	what := kind(address)
	if what == "" && g.isOwn(address) {
		what = "of this machine"
	}
	if what == "" {
		return nil
	}
	return fmt.Errorf("%w: %s is %s; --deliver-allow=%s would allow it", ErrRefusedAddress, address, what, netip.PrefixFrom(address, address.BitLen()))
}

// kind says why an address is not public. It returns "" for a public address.
func kind(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return "no address"
	case a.IsUnspecified():
		return "unspecified"
	case a.IsLoopback():
		return "of this machine (loopback)"
	case a.IsLinkLocalUnicast():
		return "link-local"
	case a.IsMulticast():
		return "multicast"
	case a.IsPrivate():
		return "of a private network"
	}
	for _, r := range reserved {
		if r.network.Contains(a) {
			return r.what
		}
	}
	for _, c := range carriers {
		if c.network.Contains(a) {
			bytes := a.As16()
			return kind(netip.AddrFrom4([4]byte(bytes[c.at : c.at+4])))
		}
	}
	return ""
}

// isOwn reports whether an address belongs to this machine, public or not. isOwn returns
// true if the system does not list its addresses.
func (g *Guard) isOwn(a netip.Addr) bool {
	own, err := g.own()
	if err != nil {
		return true
	}
	for _, o := range own {
		if network, ok := o.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(network.IP); ok && ip.Unmap() == a {
				return true
			}
		}
	}
	return false
}

// control is the Control function of a net.Dialer. control checks the address to which
// the connection really goes, so that nothing relies on an earlier look-up of the name.
func (g *Guard) control(_, address string, _ syscall.RawConn) error {
	place, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %s", ErrRefusedAddress, address)
	}
	return g.Check(place.Addr())
}

// Resolve returns those addresses of a host to which deliveries may go. If there is no
// such address, Resolve returns the error of the DNS look-up, or an error that says why
// the first address is refused.
func (g *Guard) Resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	var usable []netip.Addr
	var refusal error
	for _, a := range addresses {
		switch err := g.Check(a); {
		case err == nil:
			usable = append(usable, a)
		case refusal == nil:
			refusal = err
		}
	}
	if len(usable) == 0 {
		return nil, refusal
	}
	return usable, nil
}

// connectPatience is how long dial waits for a connection to one of several addresses.
const connectPatience = 3 * time.Second

// dial connects to the first address of a host that answers.
func (g *Guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addresses, err := g.Resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Control: g.control}
	if len(addresses) > 1 {
		dialer.Timeout = connectPatience
	}
	var first error
	for _, a := range addresses {
		connection, err := dialer.DialContext(ctx, network, net.JoinHostPort(a.String(), port))
		if err == nil {
			return connection, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}
