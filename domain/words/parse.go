package words

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// day is the largest unit of a duration.
const day = 24 * time.Hour

// days matches the days at the beginning of a duration.
var days = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)d`)

// ParseDuration reads a duration in Go's format (15m, 1h30m), with days (2d, 3d4h), or in the format of Duration
// ("21 min 15 s").
func ParseDuration(text string) (time.Duration, error) {
	short := strings.NewReplacer(" ", "", ",", "", "min", "m").Replace(strings.TrimSpace(text))
	rest, negative := strings.CutPrefix(short, "-")
	var whole time.Duration
	if found := days.FindStringSubmatch(rest); found != nil {
		var n float64
		if _, err := fmt.Sscan(found[1], &n); err != nil || n > float64(1<<63-1)/float64(day) {
			return 0, fmt.Errorf("%.40q is no duration", text)
		}
		whole, rest = time.Duration(n*float64(day)), rest[len(found[0]):]
		if rest == "" {
			return signed(whole, negative), nil
		}
	}
	part, err := time.ParseDuration(rest)
	if err != nil || part < 0 || whole+part < 0 {
		return 0, fmt.Errorf("%.40q is no duration: write it as 15m, 1h30m or 2d", text)
	}
	return signed(whole+part, negative), nil
}

func signed(d time.Duration, negative bool) time.Duration {
	if negative {
		return -d
	}
	return d
}
