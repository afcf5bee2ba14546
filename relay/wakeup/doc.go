// Package wakeup tells the pollers of a relay when there may be work. A wake-up
// comes from a producer through PostgreSQL's NOTIFY (Listen), or from the API of
// the same process (Wake). Producers read in the database whether they must
// notify (Show). If no wake-ups can arrive, the pollers sleep only briefly.
//
// The package claims nothing and knows no events. A needless wake-up costs one
// claim, and a lost one costs a sleep.
package wakeup
