// Package recall cancels, reschedules and erases events, for people. The
// functions that services call in their own transactions are in
// migrations/00006_taking_back.sql, which also says why a cancelled event
// cannot take effect.
package recall
