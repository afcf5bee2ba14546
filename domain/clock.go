package domain

import (
	"fmt"
	"time"
)

// clockTolerance is what two clocks may differ by: Asynq schedules tasks to the
// second.
const clockTolerance = 2 * time.Second

// ClockFinding compares a server's clock, which said there at some moment between
// before and after, with this machine's. server is as in "PostgreSQL's".
func ClockFinding(code, server string, before, there, after time.Time) []Finding {
	var skew time.Duration
	var which string
	switch {
	case there.Before(before.Add(-clockTolerance)):
		skew, which = before.Sub(there), "behind"
	case there.After(after.Add(clockTolerance)):
		skew, which = there.Sub(after), "ahead of"
	default:
		return nil
	}
	return []Finding{{
		Code: code, Level: FindingWarning,
		Found:       fmt.Sprintf("%s clock is %v %s this machine's", server, skew.Round(time.Second), which),
		Consequence: "events and retries are due too early or too late, deadlines pass at the wrong time, and ages in figures are wrong by as much",
		Remedy:      "let NTP set the clocks of all machines (timedatectl set-ntp true), and look at chronyc tracking",
	}}
}
