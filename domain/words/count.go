package words

import (
	"strconv"
)

type integer interface{ ~int | ~int32 | ~int64 }

// Count formats a number with commas between groups of three digits: 1,234,567.
func Count[N integer](n N) string {
	digits := strconv.FormatInt(int64(n), 10)
	sign := ""
	if n < 0 {
		sign, digits = "−", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// Many formats a number with its noun: "1 task", "12,500 tasks". The parameter one is
// the singular of the noun.
func Many[N integer](n N, one string) string { return Count(n) + " " + Plural(n, one, one+"s") }

// Plural returns the first text if n is 1, and otherwise the second.
func Plural[N integer](n N, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
