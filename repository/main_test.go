package repository_test

import (
	"testing"

	"outboxd/app/servertest"
	"outboxd/repository/repositorytest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

var (
	healthy      = repositorytest.Healthy
	text         = repositorytest.Text
	awaitWaiting = repositorytest.AwaitWaiting
	balance      = repositorytest.Balance
	confirmEvent = repositorytest.Confirm
	claim        = repositorytest.Claim
	claimEvents  = repositorytest.ClaimEvents
	count        = repositorytest.Count
	deliver      = repositorytest.Deliver
	die          = repositorytest.Die
	emit         = repositorytest.Emit
	emitKeyed    = repositorytest.EmitKeyed
	eventually   = repositorytest.Eventually
	exec         = repositorytest.Exec
	explain      = repositorytest.Explain
	find         = repositorytest.Find
	migrate      = repositorytest.Migrate
	relayAll     = repositorytest.RelayAll
	types        = repositorytest.Types
)
