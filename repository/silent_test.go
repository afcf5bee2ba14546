package repository_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"outboxd/app/faulttest"
	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/repository"
	"outboxd/repository/postgres"
)

// A NAT device forgets the connection that listens: nothing arrives any more, and nothing ends. Listen returns, and the
// next call of Listen hears notifications.
func TestAListenThatHearsNothingIsNoticed(t *testing.T) {
	t.Parallel()
	address := schematest.Database(t)
	db, nat := schematest.Connect(t, address), faulttest.NewProxy(t, address)
	presence := repository.NewPresence(db, nat.URL()).WithPatience(100*time.Millisecond, 400*time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	heard, ended := make(chan domain.Notice, 100), make(chan error)
	listen := func() {
		ended <- presence.Listen(ctx, func(about domain.Notice) { heard <- about })
	}
	go listen()
	<-heard
	nat.Forget()
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "LISTEN does not work") {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(servertest.Patience):
		t.Fatal("a connection that is dead still listens")
	}
	go listen()
	for len(heard) > 0 {
		<-heard
	}
	<-heard
	cancel()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("listen: %v", err)
	}
}

// PostgreSQL does not answer a rollback. The connection leaves the pool, and the next
// transaction has another one.
func TestARollbackThatIsNotAnswered(t *testing.T) {
	t.Parallel()
	nat := faulttest.NewProxy(t, schematest.Database(t))
	db := schematest.Connect(t, nat.URL())
	t.Cleanup(nat.Close) // ends a rollback that waits, so that the pool can be closed
	tx, err := db.Pool().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	nat.Forget()
	over := make(chan struct{})
	go func() { postgres.RollBack(t.Context(), tx); close(over) }()
	select {
	case <-over:
	case <-time.After(servertest.Patience):
		t.Fatal("the rollback still waits")
	}
	servertest.Eventually(t, "the connection has left the pool", func() bool { return db.Pool().Stat().AcquiredConns() == 0 })
	exec(t, db, "SELECT 1")
}
