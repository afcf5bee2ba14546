// Package words formats numbers, counts and durations for people, the same way on web pages, in commands and in
// findings.
//
// It is not for machines: metrics, log attributes and the numeric fields of JSON contain plain numbers. The texts for
// people that JSON also contains, such as those of findings, use this package.
package words
