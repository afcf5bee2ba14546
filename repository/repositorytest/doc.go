// Package repositorytest has helpers for the tests of package repository and its
// subpackages: the helpers write events, claim and publish them, confirm them and count
// them. Each helper ends the test on an error.
package repositorytest
