// Package answer reads the answers of other people's servers: the part of the
// text that an error may quote, and the time after which the server wants to be
// asked again.
package answer
