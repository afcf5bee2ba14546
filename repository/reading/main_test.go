package reading_test

import (
	"testing"

	"outboxd/app/servertest"
	"outboxd/repository/repositorytest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

var (
	count = repositorytest.Count
	exec  = repositorytest.Exec
	find  = repositorytest.Find
)
