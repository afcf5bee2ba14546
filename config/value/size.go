package value

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"outboxd/config/words"
)

// Size is a number of bytes.
type Size int

// String returns the text that UnmarshalText reads, in the largest unit that divides the
// size.
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
		return fmt.Errorf("%s is not a size: give a number of bytes, or one with its unit, such as 64KiB or 1MiB", words.Quote(string(text)))
	}
	*s = Size(n * factor)
	return nil
}

type sizeUnit struct {
	name  string
	bytes int
}

func sizeUnits() []sizeUnit { return []sizeUnit{{"MiB", 1 << 20}, {"KiB", 1 << 10}} }
