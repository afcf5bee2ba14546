// Package repositorytest has helpers for the tests of package repository and its subpackages: the
// helpers write events, claim them and commit them as published, confirm them and count them. A
// helper ends the test if it cannot do its work.
package repositorytest
