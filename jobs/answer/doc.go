// Package answer reads what mail servers and HTTP servers answer: the part of the text
// that an error may quote, and the time after which the server wants the next attempt.
package answer
