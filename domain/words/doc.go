// Package words formats numbers, counts and durations for people, the same way on web pages, in commands and in
// findings.
//
// It is not for machines: JSON, metrics and log attributes contain plain numbers.
package words
