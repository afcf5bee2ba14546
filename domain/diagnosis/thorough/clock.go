package thorough

import (
	"time"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/domain/words"
)

// Clock compares a server's clock with this machine's clock. The field There has the time that the server
// returned. The fields Before and After have the time of this machine's clock just before the server was
// asked, and just after it answered.
type Clock struct{ Before, There, After time.Time }

func (c *Clock) judge(code, server string) []domain.Finding {
	if c == nil {
		return nil
	}
	var skew time.Duration
	var which string
	switch {
	case c.There.Before(c.Before.Add(-diagnosis.ClockSkew)):
		skew, which = c.Before.Sub(c.There), "behind"
	case c.There.After(c.After.Add(diagnosis.ClockSkew)):
		skew, which = c.There.Sub(c.After), "ahead of"
	default:
		return nil
	}
	return diagnosis.Of(code, server+"'s clock is "+words.Duration(skew.Round(time.Second))+" "+which+" this machine's",
		"events and retries are due too early or too late, deadlines pass at the wrong time, and ages in figures are wrong by as much",
		"let NTP set the clocks of all machines (timedatectl set-ntp true), and look at chronyc tracking")
}
