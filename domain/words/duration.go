package words

import (
	"fmt"
	"strings"
	"time"
)

// Duration formats a duration with its two largest units: "21 min 15 s", "3 d 4 h". If the second unit is zero, it
// is left out: "15 min". Below ten seconds the result has tenths of a second, unless they are zero; below one
// second it has milliseconds. A negative duration is "0 s". A duration of less than a millisecond is "under 1 ms",
// which says that it is not zero.
func Duration(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d > 0 && d < time.Millisecond:
		return "under 1 ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Truncate(100*time.Millisecond).Seconds()), ".0") + " s"
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return two(d/time.Minute, "min", d/time.Second%60, "s")
	case d < 24*time.Hour:
		return two(d/time.Hour, "h", d/time.Minute%60, "min")
	default:
		return two(d/(24*time.Hour), "d", d/time.Hour%24, "h")
	}
}

func two(large time.Duration, unit string, small time.Duration, smaller string) string {
	if small == 0 {
		return fmt.Sprintf("%s %s", Count(int64(large)), unit)
	}
	return fmt.Sprintf("%s %s %d %s", Count(int64(large)), unit, small, smaller)
}

// Rough formats a duration with its largest unit, rounded down: "12 min". The result changes seldom.
func Rough(d time.Duration) string {
	switch {
	case d < time.Second:
		return "less than 1 s"
	case d < time.Minute:
		return Duration(d.Truncate(time.Second))
	case d < time.Hour:
		return Duration(d.Truncate(time.Minute))
	case d < 24*time.Hour:
		return Duration(d.Truncate(time.Hour))
	default:
		return Duration(d.Truncate(24 * time.Hour))
	}
}

// Short formats a duration of whole hours, minutes or seconds for the heading of a column: "1h", "5m", "40s".
func Short(d time.Duration) string {
	switch {
	case d >= time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= time.Minute:
		return fmt.Sprintf("%dm", d/time.Minute)
	default:
		return fmt.Sprintf("%ds", d/time.Second)
	}
}

// Ago formats how long ago a time was: "5 s ago", or "just now".
func Ago(now, at time.Time) string {
	if d := now.Sub(at); d >= time.Second {
		return Duration(d.Truncate(time.Second)) + " ago"
	}
	return "just now"
}

// Rate formats a number of events per second.
func Rate(perSecond float64) string {
	switch {
	case perSecond == 0:
		return "0/s"
	case perSecond < 0.1:
		return fmt.Sprintf("%.1f/min", perSecond*60)
	case perSecond < 10:
		return fmt.Sprintf("%.1f/s", perSecond)
	default:
		return Count(int64(perSecond+0.5)) + "/s"
	}
}
