// Package wakeup tells the pollers of a relay when there may be work. A wake-up
// comes from a producer through PostgreSQL's NOTIFY (Listen), or from the API of
// the same process (Wake). Producers see in the database whether they are to
// notify (Show). Where nobody would, the pollers' sleeps are short.
//
// It claims nothing, and knows no event: a wake-up too many costs one claim, and
// a lost one costs a sleep.
package wakeup
