package dashboard_test

import (
	"testing"

	"outboxd/app/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m) }
