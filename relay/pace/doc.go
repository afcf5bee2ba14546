// Package pace has functions with which the parts of a relay wait: it computes the wait after a failure, and lets a
// wait end early.
package pace
