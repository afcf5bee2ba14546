package value

import (
	"encoding"
	"fmt"
	"strconv"
	"strings"
	"time"

	"outboxd/config/words"
)

// Parse reads text into a field of config.Config. Its errors quote the text,
// except for secrets.
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
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%s is not a duration: give a number with its unit, such as 500ms, 30s, 10m or 24h", words.Quote(text))
		}
		*field = d
	case encoding.TextUnmarshaler:
		return field.UnmarshalText([]byte(text))
	default:
		return fmt.Errorf("%T cannot be configured", field)
	}
	return nil
}

// Format returns the text from which Parse reads the field's value, with
// secrets masked.
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

// FormatDuration writes 24h for time.Duration's 24h0m0s.
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
