// Package answer reads what a server of somebody else's answers: how much of its
// words fits into an error, and when it wants to be asked again.
package answer
