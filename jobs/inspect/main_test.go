package inspect_test

import (
	"testing"

	"outboxd/repository/repositorytest"
)

func TestMain(m *testing.M) { repositorytest.Main(m) }
