// Package repositorytest has helpers for the tests of repository and the packages
// below it: they write events, hand them over, confirm them and count them. Each
// helper ends the test on an error.
package repositorytest
