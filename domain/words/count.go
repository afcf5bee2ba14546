package words

import (
	"strconv"
)

type integer interface{ ~int | ~int32 | ~int64 }

// Count writes a number with its thousands apart: 1,234,567.
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

// Many writes a number with its noun: "1 task", "12,500 tasks". one is the
// singular.
func Many[N integer](n N, one string) string { return Count(n) + " " + Plural(n, one, one+"s") }

// Plural returns one for 1, and many for every other number.
func Plural[N integer](n N, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
