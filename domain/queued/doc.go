// Package queued says what Redis knows of the tasks of events: whether a task is
// there, which state it has, and which tasks failed or were archived.
//
// It imports no client of Redis. The interface that enqueues events is domain.Publisher.
// What the database and Redis know of an event together is in the packages lives and failing.
package queued
