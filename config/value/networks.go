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
		networks = append(networks, prefix.Masked())
	}
	*n = networks
	return nil
}
