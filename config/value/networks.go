package value

import (
	"fmt"
	"net/netip"
	"strings"

	"outboxd/config/words"
)

// Networks is a list of address ranges.
type Networks []netip.Prefix

// String returns the text that UnmarshalText reads.
func (n Networks) String() string {
	texts := make([]string, len(n))
	for i, prefix := range n {
		texts[i] = prefix.String()
	}
	return strings.Join(texts, ",")
}

// MarshalText returns String.
func (n Networks) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText reads a comma-separated list of ranges such as 10.0.0.0/8 and of single
// addresses.
func (n *Networks) UnmarshalText(text []byte) error {
	var networks Networks
	for _, entry := range words.List(string(text)) {
		prefix, err := netip.ParsePrefix(entry)
		if addr, addrErr := netip.ParseAddr(entry); addrErr == nil && addr.Zone() == "" {
			prefix, err = addr.Prefix(addr.BitLen())
		}
		if err != nil {
			return fmt.Errorf("%s is not an address range: write it as 10.0.0.0/8 or 2001:db8::/32", words.Quote(entry))
		}
		networks = append(networks, unmapped(prefix.Masked()))
	}
	*n = networks
	return nil
}

// unmapped returns a range of IPv4-mapped addresses, such as ::ffff:10.0.0.0/104, as a range of IPv4, because
// connections from and to such an address count as IPv4.
func unmapped(prefix netip.Prefix) netip.Prefix {
	if !prefix.Addr().Is4In6() {
		return prefix
	}
	return netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
}
