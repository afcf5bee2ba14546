// Package words writes numbers, counts and durations for people: the same way on
// the pages, in commands and in findings.
//
// It is not for machines: JSON, metrics and log attributes have numbers of their own.
package words
