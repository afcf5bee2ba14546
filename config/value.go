package config

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// parseInto reads text into a field of Config. Its errors quote the text,
// except for secrets.
func parseInto(field any, text string) error {
	switch field := field.(type) {
	case *string:
		*field = text
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%s is not a whole number", quote(text))
		}
		*field = n
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%s is not a duration: give a number with its unit, such as 500ms, 30s, 10m or 24h", quote(text))
		}
		*field = d
	case encoding.TextUnmarshaler:
		return field.UnmarshalText([]byte(text))
	default:
		return fmt.Errorf("%T cannot be configured", field)
	}
	return nil
}

// format returns the text from which parseInto reads the field's value, with
// secrets masked.
func format(field any) string {
	switch field := field.(type) {
	case *string:
		return *field
	case *int:
		return strconv.Itoa(*field)
	case *time.Duration:
		return formatDuration(*field)
	case fmt.Stringer:
		return field.String()
	default:
		return fmt.Sprint(field)
	}
}

// formatDuration writes 24h for time.Duration's 24h0m0s.
func formatDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// Size is a number of bytes.
type Size int

// String returns what UnmarshalText reads, in the largest unit that fits.
func (s Size) String() string {
	for _, unit := range sizeUnits() {
		if s != 0 && int(s)%unit.bytes == 0 {
			return strconv.Itoa(int(s)/unit.bytes) + unit.name
		}
	}
	return strconv.Itoa(int(s))
}

// MarshalText returns String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a number of bytes, optionally with the unit KiB or MiB.
// An empty text is 0.
func (s *Size) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*s = 0
		return nil
	}
	number, factor := string(text), 1
	for _, unit := range sizeUnits() {
		if n, found := strings.CutSuffix(number, unit.name); found {
			number, factor = strings.TrimSpace(n), unit.bytes
			break
		}
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n > math.MaxInt32/factor {
		return fmt.Errorf("%s is not a size: give a number of bytes, or one with its unit, such as 64KiB or 1MiB", quote(string(text)))
	}
	*s = Size(n * factor)
	return nil
}

type sizeUnit struct {
	name  string
	bytes int
}

func sizeUnits() []sizeUnit { return []sizeUnit{{"MiB", 1 << 20}, {"KiB", 1 << 10}} }

// Networks is a list of address ranges.
type Networks []netip.Prefix

// String returns what UnmarshalText reads.
func (n Networks) String() string {
	texts := make([]string, len(n))
	for i, prefix := range n {
		texts[i] = prefix.String()
	}
	return strings.Join(texts, ",")
}

// MarshalText returns String.
func (n Networks) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText reads ranges such as 10.0.0.0/8, and single addresses,
// separated by commas.
func (n *Networks) UnmarshalText(text []byte) error {
	var networks Networks
	for _, entry := range splitList(string(text)) {
		prefix, err := netip.ParsePrefix(entry)
		if addr, addrErr := netip.ParseAddr(entry); addrErr == nil && addr.Zone() == "" {
			prefix, err = addr.Prefix(addr.BitLen())
		}
		if err != nil {
			return fmt.Errorf("%s is not an address range: write it as 10.0.0.0/8 or 2001:db8::/32", quote(entry))
		}
		networks = append(networks, prefix.Masked())
	}
	*n = networks
	return nil
}

// splitList returns the entries of a list, without the empty ones.
func splitList(text string) []string {
	var entries []string
	for entry := range strings.SplitSeq(text, ",") {
		if entry = strings.TrimSpace(entry); entry != "" {
			entries = append(entries, entry)
		}
	}
	return entries
}

// quote makes a user's text safe to show inside a message.
func quote(text string) string {
	const limit = 60
	if len(text) > limit {
		return strconv.Quote(strings.ToValidUTF8(text[:limit], "")) + "…"
	}
	return strconv.Quote(text)
}

// isText reports whether a value can be written to YAML and to a log without
// change.
func isText(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}

var errNotText = errors.New("the value holds control characters or is not UTF-8")
