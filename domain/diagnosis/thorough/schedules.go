package thorough

import (
	"fmt"
	"time"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/domain/words"
)

// LateSchedules counts the schedules that have a tick (a time at which to emit an event) that has been due for too
// long.
type LateSchedules struct {
	Schedules int64
	Example   string // the name of the one that has been late longest
	Lateness  time.Duration
	Error     string // why its tick could not be emitted; "" if no failure is known
}

func (l *LateSchedules) judge() []domain.Finding {
	if l == nil || l.Schedules == 0 {
		return nil
	}
	why, cure := "no relay leads, or it is busy", "look whether a relay runs; the finding leader-absent or leader-silent says more"
	if l.Error != "" {
		why, cure = l.Error, fmt.Sprintf("mend it and apply the schedule again, or outboxd schedules pause %s", l.Example)
	}
	return diagnosis.Of("schedules-late", fmt.Sprintf("%s did not tick in time; %s has been late for %s: %s", words.Many(l.Schedules, "schedule"), l.Example, whole(l.Lateness), why),
		"the events of their ticks come late; the rule of each schedule says which missed ticks still get an event",
		cure)
}
