package examine_test

import (
	"testing"

	"outboxd/app/servertest"
	"outboxd/repository/repositorytest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

var (
	healthy    = repositorytest.Healthy
	text       = repositorytest.Text
	attended   = repositorytest.Attended
	count      = repositorytest.Count
	eventually = repositorytest.Eventually
	exec       = repositorytest.Exec
)
