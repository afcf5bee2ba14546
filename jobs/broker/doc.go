// Package broker is the common knowledge of Redis in jobs: the handle that a
// process opens once, the names of the keys, the meaning of Redis's answers, and
// the notes that workers leave there for others.
//
// By itself it enqueues nothing, runs nothing and looks for nothing.
package broker
