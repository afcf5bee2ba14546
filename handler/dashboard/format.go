package dashboard

import (
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"

	"outboxd/domain"
)

// formats are what templates write values with.
var formats = template.FuncMap{
	"brief":    brief,
	"count":    count,
	"countInt": func(n int) string { return count(int64(n)) },
	"plural":   plural,
	"duration": duration,
	"instant":  instant,
	"rate":     rate,
	"ago":      ago,
	"title":    title,
	"leg":      newLeg,
}

// ago writes how long before now something was.
func ago(now, at time.Time) string {
	if d := now.Sub(at); d >= time.Second {
		return duration(d.Truncate(time.Second)) + " ago"
	}
	return "just now"
}

// title writes the name of a server as its makers do.
func title(name string) string {
	switch name {
	case "postgres":
		return "PostgreSQL"
	case "redis":
		return "Redis"
	default:
		return name
	}
}

// leg is a leg of the way, with its events for each second.
type leg struct {
	Name      string
	Known     bool
	Now, Hour float64
}

func newLeg(name string, known bool, now, hour domain.Flow) leg {
	choose := func(f domain.Flow) float64 {
		switch name {
		case "emitted":
			return f.Rate(f.Emitted)
		case "enqueued":
			return f.Rate(f.Enqueued)
		default:
			return f.Rate(f.Confirmed)
		}
	}
	return leg{name, known, choose(now), choose(hour)}
}

// brief is the beginning of a text for a cell of a table.
func brief(text string) string {
	const longest = 160
	if runes := []rune(text); len(runes) > longest {
		return string(runes[:longest]) + "…"
	}
	return text
}

// count writes a number with its thousands apart: 1,234,567.
func count(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "−", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// duration writes a length of time with the two units that matter most: 3 d 4 h.
func duration(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Seconds()), ".0") + " s"
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%d d %d h", int(d.Hours())/24, int(d.Hours())%24)
	}
}

// instant writes a time for <time datetime>, in UTC; "" for none.
func instant(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format("2006-01-02T15:04:05.000Z")
}

// rate writes events for each second.
func rate(perSecond float64) string {
	switch {
	case perSecond == 0:
		return "0/s"
	case perSecond < 0.1:
		return fmt.Sprintf("%.1f/min", perSecond*60)
	case perSecond < 10:
		return fmt.Sprintf("%.1f/s", perSecond)
	default:
		return count(int64(perSecond+0.5)) + "/s"
	}
}
