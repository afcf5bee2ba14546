package domain

import (
	"fmt"
	"time"

	"outboxd/domain/words"
)

// Standby says from which server the pages and the commands read.
type Standby struct {
	// Fault says in a sentence why the pages and the commands read from the primary. ""
	// means that they read from the standby.
	Fault string
	// Bytes is how much of the primary's log the standby has not applied. -1: not known.
	Bytes int64
	// Behind is how long ago the last transaction was committed that the standby has applied.
	// That may be long if the primary is idle. -1: not known.
	Behind time.Duration
}

// String returns s as a sentence or two.
func (s Standby) String() string {
	switch {
	case s.Fault != "":
		return s.Fault + " This is read from the primary."
	case s.Bytes == 0:
		return "This is read from a standby, which has all changes."
	case s.Behind >= 0 && s.Bytes > 0:
		return fmt.Sprintf("This is read from a standby, which is %s and %s bytes of the log behind.", words.Duration(s.Behind), words.Count(s.Bytes))
	case s.Behind >= 0:
		return fmt.Sprintf("This is read from a standby. The primary does not answer, and the standby's last change is %s old.", words.Duration(s.Behind))
	default:
		return "This is read from a standby. How far it is behind is not known."
	}
}
