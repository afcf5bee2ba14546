// Package recall cancels, reschedules and erases events for people, and carries out the
// changes that producers asked for. Producers call SQL functions in their own
// transactions. The file migrations/00006_taking_back.sql has these functions, and says
// why a cancelled event cannot take effect.
package recall
