package value

import (
	"fmt"
	"slices"
	"strings"

	"outboxd/config/words"
)

// Names is a list of names, without repetitions.
type Names []string

// String returns the text that UnmarshalText reads.
func (n Names) String() string { return strings.Join(n, ",") }

// MarshalText returns String.
func (n Names) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText reads names separated by commas.
func (n *Names) UnmarshalText(text []byte) error {
	var names Names
	for _, name := range words.List(string(text)) {
		if !words.IsPlain(name) {
			return fmt.Errorf("%s is not a name: %w", words.Quote(name), words.ErrNotPlain)
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	*n = names
	return nil
}
