package upkeep_test

import (
	"testing"

	"outboxd/app/servertest"
	"outboxd/repository/repositorytest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

var (
	count      = repositorytest.Count
	emit       = repositorytest.Emit
	eventually = repositorytest.Eventually
	exec       = repositorytest.Exec
)
