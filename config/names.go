package config

import (
	"fmt"
	"slices"
	"strings"
)

// Names is a list of names, without repetitions.
type Names []string

// String returns what UnmarshalText reads.
func (n Names) String() string { return strings.Join(n, ",") }

// MarshalText returns String.
func (n Names) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText reads names with commas between.
func (n *Names) UnmarshalText(text []byte) error {
	var names Names
	for _, name := range splitList(string(text)) {
		if !isText(name) {
			return fmt.Errorf("%s is not a name: %w", quote(name), errNotText)
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	*n = names
	return nil
}
