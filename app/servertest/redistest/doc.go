// Package redistest starts Redis servers that only one test uses: to kill, pause, flush or
// restore them, or to give them a configuration. Package redistest also starts clusters,
// and moves their slots.
//
// Package redistest is for tests only. A test that does nothing to its Redis uses servertest.Redis,
// which starts no server.
package redistest
