// Package repositorytest is what the tests of repository and of the packages below
// it do again and again: write events, hand them on, confirm them, and count what
// is then where. Each helper ends the test on an error.
package repositorytest
