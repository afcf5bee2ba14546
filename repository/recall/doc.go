// Package recall cancels, reschedules and erases events, for people. Services call SQL
// functions in their own transactions; they are in migrations/00006_taking_back.sql. The
// file migrations/00006_taking_back.sql also says why a cancelled event cannot take
// effect.
package recall
