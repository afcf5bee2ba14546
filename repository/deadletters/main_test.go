package deadletters_test

import (
	"testing"

	"outboxd/app/servertest"
	"outboxd/repository/repositorytest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

var (
	awaitWaiting = repositorytest.AwaitWaiting
	balance      = repositorytest.Balance
	claim        = repositorytest.Claim
	claimEvents  = repositorytest.ClaimEvents
	confirm      = repositorytest.Confirm
	count        = repositorytest.Count
	deliver      = repositorytest.Deliver
	die          = repositorytest.Die
	emit         = repositorytest.Emit
	emitKeyed    = repositorytest.EmitKeyed
	exec         = repositorytest.Exec
	find         = repositorytest.Find
	relayAll     = repositorytest.RelayAll
)
