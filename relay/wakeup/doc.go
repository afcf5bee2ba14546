// Package wakeup tells the pollers of a relay when there may be work. A wake-up comes from a producer through
// PostgreSQL's NOTIFY (see Waker.Listen), or from the same process (see Waker.Wake). Waker.Show keeps in the database
// whether the relay is asleep: producers notify only while some relay is. If no notifications can arrive, the pollers
// sleep only briefly.
//
// The package itself claims no events. A needless wake-up costs one or two claims. A lost wake-up costs a delay of
// one sleep.
package wakeup
