// Package broker is what everything in jobs knows of Redis: the one handle that a
// process opens, the names of the keys, what an answer of Redis means, and what
// workers leave there for those who look.
//
// It enqueues nothing, runs nothing and looks for nothing by itself.
package broker
