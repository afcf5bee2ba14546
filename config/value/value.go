package value

import (
	"encoding"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"outboxd/config/words"
)

// Parse reads text into a field of config.Config. field is a pointer. The errors of Parse
// may quote the text, unless the field holds a secret.
func Parse(field any, text string) error {
	switch field := field.(type) {
	case *string:
		*field = text
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%s is not a whole number", words.Quote(text))
		}
		*field = n
	case *time.Duration:
		d, err := parseDuration(text)
		if err != nil {
			return fmt.Errorf("%s is not a duration: give a number with its unit, such as 500ms, 30s, 10m, 24h or 2d", words.Quote(text))
		}
		*field = d
	case encoding.TextUnmarshaler:
		return field.UnmarshalText([]byte(text))
	default:
		return fmt.Errorf("%T cannot be configured", field)
	}
	return nil
}

// inDays matches a number of days at the beginning of a duration, such as 3d.
var inDays = regexp.MustCompile(`^([0-9]{1,5})d`)

// parseDuration also reads days: 2d, 3d4h.
func parseDuration(text string) (time.Duration, error) {
	found := inDays.FindStringSubmatch(text)
	if found == nil {
		return time.ParseDuration(text)
	}
	n, err := strconv.Atoi(found[1])
	days, rest := time.Duration(n)*24*time.Hour, text[len(found[0]):]
	if err != nil || rest == "" {
		return days, err
	}
	part, err := time.ParseDuration(rest)
	return days + part, err
}

// Format returns the value of a field in the text form that Parse reads. Secrets are
// masked.
func Format(field any) string {
	switch field := field.(type) {
	case *string:
		return *field
	case *int:
		return strconv.Itoa(*field)
	case *time.Duration:
		return FormatDuration(*field)
	case fmt.Stringer:
		return field.String()
	default:
		return fmt.Sprint(field)
	}
}

// FormatDuration writes a duration without zero units at its end: 24h where time.Duration
// writes 24h0m0s.
func FormatDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
