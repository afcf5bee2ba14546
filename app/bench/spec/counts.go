package spec

import (
	"fmt"
	"strconv"
	"strings"
)

// Counts is the value of a flag with several counts: whole numbers from 1,
// separated by commas. k means thousand and m means million.
type Counts []int

// String implements pflag.Value.
func (c *Counts) String() string {
	var parts []string
	for _, n := range *c {
		switch {
		case n%1_000_000 == 0:
			parts = append(parts, strconv.Itoa(n/1_000_000)+"m")
		case n%1_000 == 0:
			parts = append(parts, strconv.Itoa(n/1_000)+"k")
		default:
			parts = append(parts, strconv.Itoa(n))
		}
	}
	return strings.Join(parts, ",")
}

// Set implements pflag.Value.
func (c *Counts) Set(text string) error {
	var counts Counts
	for part := range strings.SplitSeq(strings.ToLower(text), ",") {
		digits, unit := strings.TrimSpace(part), 1
		if thousands, found := strings.CutSuffix(digits, "k"); found {
			digits, unit = thousands, 1_000
		} else if millions, found := strings.CutSuffix(digits, "m"); found {
			digits, unit = millions, 1_000_000
		}
		n, err := strconv.Atoi(digits)
		if err != nil || n < 1 || n > 1_000_000_000/unit {
			return fmt.Errorf("%q is no count: write numbers such as 50k,500k,2m", part)
		}
		counts = append(counts, n*unit)
	}
	*c = counts
	return nil
}

// Type implements pflag.Value.
func (c *Counts) Type() string { return "counts" }
