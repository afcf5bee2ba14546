package search_test

import (
	"testing"

	"outboxd/app/servertest"
	"outboxd/repository/repositorytest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

var (
	claimEvents = repositorytest.ClaimEvents
	confirm     = repositorytest.Confirm
	count       = repositorytest.Count
	die         = repositorytest.Die
	emit        = repositorytest.Emit
	emitKeyed   = repositorytest.EmitKeyed
	exec        = repositorytest.Exec
	explain     = repositorytest.Explain
	find        = repositorytest.Find
	relayAll    = repositorytest.RelayAll
)
