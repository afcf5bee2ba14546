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
	spec cron.Schedule
	wall *cron.SpecSchedule // the same in UTC, for local times; nil: the expression ticks in every hour, or is @every
	zone *time.Location
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
	c := &Cron{spec: spec, zone: zone}
	switch s := spec.(type) {
	case *cron.SpecSchedule:
		const anyHour = 1 << 63 // cron's mark of a star
		s.Location = zone
		if s.Hour&anyHour == 0 {
			wall := *s
			wall.Location = time.UTC
			c.wall = &wall
		}
	case cron.ConstantDelaySchedule:
		if s.Delay < shortest {
			return refuse("cron %.60q: ticks come at least %s apart", expression, shortest)
		}
	}
	if c.Next(time.Now()).IsZero() {
		return refuse("cron %.60q: no day in the next years matches it", expression)
	}
	return c, nil
}

// Next returns the first tick after the given time, or zero if there is none within five
// years.
func (c *Cron) Next(after time.Time) time.Time {
	for {
		next := c.spec.Next(after.In(c.zone))
		if c.wall == nil {
			return next
		}
		if put := c.putForward(after, next); !put.IsZero() {
			return put
		}
		if next.IsZero() || !isSecond(next) {
			return next
		}
		after = next
	}
}

// putForward returns the time at which the clock was put forward over a tick, if that was
// between the two given times. Otherwise it returns zero.
func (c *Cron) putForward(after, next time.Time) time.Time {
	limit := next
	if limit.IsZero() {
		limit = after.AddDate(1, 0, 0)
	}
	for at := after.In(c.zone); ; {
		_, change := at.ZoneBounds()
		if change.IsZero() || !change.Before(limit) {
			return time.Time{}
		}
		from, to := wallClock(change.Add(-time.Second)).Add(time.Second), wallClock(change)
		if to.After(from) {
			if skipped := c.wall.Next(from.Add(-time.Second)); skipped.Before(to) && !skipped.IsZero() {
				return change
			}
		}
		at = change
	}
}

// isSecond reports whether the local time of t already came once before, because the
// clock was put back.
func isSecond(t time.Time) bool {
	begin, _ := t.ZoneBounds()
	if begin.IsZero() {
		return false
	}
	before := wallClock(begin.Add(-time.Second)).Add(time.Second)
	return wallClock(t).Before(before)
}

// wallClock returns the local time of t as if it were UTC.
func wallClock(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}
