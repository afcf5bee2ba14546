package heal_test

import (
	"testing"

	"outboxd/app/servertest"
	"outboxd/repository/repositorytest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

var (
	claim      = repositorytest.Claim
	count      = repositorytest.Count
	deliver    = repositorytest.Deliver
	emit       = repositorytest.Emit
	eventually = repositorytest.Eventually
	exec       = repositorytest.Exec
)
