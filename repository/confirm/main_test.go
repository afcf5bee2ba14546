package confirm_test

import (
	"testing"

	"outboxd/app/servertest"
	"outboxd/repository/repositorytest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

var (
	count    = repositorytest.Count
	exec     = repositorytest.Exec
	relayAll = repositorytest.RelayAll
)
