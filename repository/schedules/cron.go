package schedules

import (
	"strings"
	"time"
	_ "time/tzdata" // for machines on which no time zones are installed

	"github.com/robfig/cron/v3"

	"outboxd/domain"
)

// shortest is the shortest duration that @every accepts.
const shortest = time.Minute

// Cron is a cron expression in a time zone. The local time of the time zone decides when
// a schedule ticks:
//
//   - If ticks fall into the time that is skipped in spring, one tick comes when the clock
//     has been put forward.
//   - If a local time comes twice in autumn, only the first one has a tick.
//
// An expression with * for the hour is different: it does not tick in the skipped time, and
// ticks in both hours that have the same local time. @every does not depend on the local
// time.
type Cron struct {
	every   cron.Schedule      // @every; nil: the local time decides
	local   *cron.SpecSchedule // for local times, which it takes for UTC: cron itself errs where a zone's clock changes
	anyHour bool               // the expression has * for the hour
	zone    *time.Location
}

// Parse reads a cron expression: five fields (minute, hour, day of month, month, day of
// week), a word such as @daily, or @every with a duration of at least a minute.
//
// Errors: domain.CodeInvalid.
func Parse(expression, timeZone string) (*Cron, error) {
	refuse := func(format string, args ...any) (*Cron, error) {
		return nil, domain.Errorf(domain.CodeInvalid, format, args...)
	}
	zone, err := time.LoadLocation(timeZone)
	if err != nil || timeZone == "" || timeZone == "Local" {
		return refuse("time_zone %.60q is not known: write one of the IANA database, such as Europe/Berlin, or UTC", timeZone)
	}
	if strings.Contains(expression, "TZ=") {
		return refuse("cron %.60q: the time zone has a field of its own, time_zone", expression)
	}
	spec, err := cron.ParseStandard(expression)
	if err != nil {
		return refuse("cron %.60q: %v; write five fields (minute, hour, day of month, month, day of week), such as \"0 3 * * 1-5\", or a word such as @daily", expression, err)
	}
	c := &Cron{zone: zone}
	switch s := spec.(type) {
	case *cron.SpecSchedule:
		const star = 1 << 63 // cron's mark of a star
		s.Location = time.UTC
		c.local, c.anyHour = s, s.Hour&star != 0
	case cron.ConstantDelaySchedule:
		if s.Delay < shortest {
			return refuse("cron %.60q: ticks come at least %s apart", expression, shortest)
		}
		c.every = s
	}
	if c.Next(time.Now()).IsZero() {
		return refuse("cron %.60q: no day in the next years matches it", expression)
	}
	return c, nil
}

// Next returns the first tick after the given time, or zero if there is none within five
// years.
func (c *Cron) Next(after time.Time) time.Time {
	at := after.In(c.zone)
	if c.every != nil {
		return c.every.Next(at)
	}
	// Between two changes of the clock, local times are instants at a fixed distance.
	for local := wallClock(at); ; {
		begin, end := at.ZoneBounds()
		if !c.anyHour && !begin.IsZero() {
			// If the clock was put back, the local times up to this one have come before.
			if came := wallClock(begin.Add(-time.Second)); came.After(local) {
				local = came
			}
		}
		next := c.local.Next(local)
		if next.IsZero() {
			return time.Time{}
		}
		if tick := next.Add(at.Sub(wallClock(at))).In(c.zone); end.IsZero() || tick.Before(end) {
			return tick
		}
		if !c.anyHour && next.Before(wallClock(end)) { // the clock is put forward over it
			return end
		}
		at, local = end, wallClock(end).Add(-time.Second) // a tick at the change itself counts
	}
}

// wallClock returns the local time of t as if it were UTC.
func wallClock(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}
