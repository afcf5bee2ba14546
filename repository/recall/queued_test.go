package recall_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/domain/setup"
	"outboxd/jobs/jobstest"
	"outboxd/jobs/lookup"
	"outboxd/repository"
	"outboxd/repository/confirm"
	"outboxd/repository/postgres"
	"outboxd/repository/recall"
	rt "outboxd/repository/repositorytest"
	"outboxd/repository/upkeep"
)

// The type queued is a database and a Redis, with events of which only Redis knows whether their
// tasks are running.
type queued struct {
	t       *testing.T
	db      *postgres.Database
	store   *repository.Outbox
	redis   *redis.Client
	changes *recall.Changes
}

func newQueued(t *testing.T) *queued {
	t.Helper()
	db := schematest.Open(t)
	if err := upkeep.NewHousekeeping(db, "").SayUnconfirmed(t.Context(), nil, []string{"mail"}); err != nil {
		t.Fatal(err)
	}
	handle := jobstest.OpenRedis(t, servertest.Redis(t))
	client := handle.MakeRedisClient().(*redis.Client)
	t.Cleanup(func() { _ = client.Close() })
	return &queued{
		t: t, db: db, redis: client, store: repository.NewOutbox(db, repository.OutboxOptions{History: true}),
		changes: recall.New(db).Asking(lookup.New(handle)),
	}
}

// relay hands events over, to tasks that wait in Redis.
func (q *queued) relay(options ...asynq.Option) (ids []domain.ID) {
	q.t.Helper()
	client := asynq.NewClientFromRedisClient(q.redis)
	batch := rt.ClaimEvents(q.t, q.store)
	for _, e := range batch.Events() {
		if _, err := client.EnqueueContext(q.t.Context(), asynq.NewTask(e.Type, e.Payload, append(options, asynq.Queue(e.Queue), asynq.TaskID(e.TaskID()))...)); err != nil {
			q.t.Fatal(err)
		}
		ids = append(ids, e.ID)
	}
	rt.Deliver(q.t, batch)
	return ids
}

// take makes a task active, as Asynq does for a worker.
func (q *queued) take(id domain.ID, queue string) {
	prefix := "asynq:{" + queue + "}:"
	q.redis.LRem(q.t.Context(), prefix+"pending", 1, id.String())
	q.redis.LPush(q.t.Context(), prefix+"active", id.String())
	q.redis.ZAdd(q.t.Context(), prefix+"lease", redis.Z{Score: float64(time.Now().Add(30 * time.Second).Unix()), Member: id.String()})
	if err := q.redis.HSet(q.t.Context(), prefix+"t:"+id.String(), "state", "active").Err(); err != nil {
		q.t.Error(err)
	}
}

// run ends the tasks of the queue "default" with an error.
func (q *queued) run(failure error) {
	q.t.Helper()
	server := asynq.NewServerFromRedisClient(q.redis, asynq.Config{Concurrency: 1, LogLevel: asynq.FatalLevel, TaskCheckInterval: 10 * time.Millisecond})
	if err := server.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error { return failure })); err != nil {
		q.t.Fatal(err)
	}
	defer server.Shutdown()
	servertest.Eventually(q.t, "a task has failed", func() bool { return q.redis.ZCard(q.t.Context(), "asynq:{default}:retry").Val() > 0 })
}

func (q *queued) journal(id domain.ID) (entries string) {
	q.t.Helper()
	return answer(q.t, q.db.SQL(), "SELECT coalesce(string_agg(entry || ' ' || detail, '; ' ORDER BY at), '') FROM outbox_journal WHERE event_id = $1", id)
}

// A mail whose task waits in Redis can be moved, cancelled and erased, unless a worker
// may be sending it.
func TestWhatWaitsInRedisIsTakenBack(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		begin   func(q *queued) domain.ID
		running bool
	}{
		"not in Redis": {begin: func(q *queued) domain.ID {
			id := q.relay()[0]
			q.redis.FlushDB(t.Context())
			return id
		}},
		"pending":   {begin: func(q *queued) domain.ID { return q.relay()[0] }},
		"scheduled": {begin: func(q *queued) domain.ID { return q.relay(asynq.ProcessIn(time.Hour))[0] }},
		"to be tried again": {begin: func(q *queued) domain.ID {
			id := q.relay()[0]
			q.run(errors.New("the receiver is down"))
			return id
		}},
		"active": {running: true, begin: func(q *queued) domain.ID {
			id := q.relay()[0]
			q.take(id, "default")
			return id
		}},
		"of a worker that lost its lease": {running: true, begin: func(q *queued) domain.ID {
			id := q.relay()[0]
			q.run(asynq.ErrLeaseExpired)
			return id
		}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			q := newQueued(t)
			rt.Exec(t, q.db, "SELECT outboxd.emit('mail', '{}')")
			id := c.begin(q)
			action := &domain.Action{Actor: "ada"}
			try := func(want domain.ChangeAnswer, changes []domain.Change, err error) {
				t.Helper()
				if c.running {
					want = domain.TooLateRunning
				}
				if err != nil || len(changes) != 1 || changes[0].Answer != want {
					t.Fatalf("%v, %v, want %s", changes, err, want)
				}
			}
			changes, err := q.changes.Reschedule(t.Context(), action, []domain.ID{id}, time.Now().Add(time.Hour))
			try(domain.ChangeRescheduled, changes, err)
			if c.running == (rt.Count(t, q.db, "SELECT count(*) FROM outbox WHERE available_at > now()") == 1) {
				t.Errorf("the event was moved: %t", !c.running)
			}
			changes, err = q.changes.Cancel(t.Context(), action, []domain.ID{id})
			try(domain.ChangeCancelled, changes, err)
			changes, err = q.changes.Erase(t.Context(), action, []domain.ID{id})
			try(domain.ChangeErased, changes, err)
			if c.running {
				if n := rt.Count(t, q.db, "SELECT count(*) FROM inbox"); n != 0 {
					t.Error("its confirmation would be refused")
				}
				return
			}
			if first, err := confirm.NewInbox(q.db).Ask(t.Context(), id); err != nil || first {
				t.Errorf("its task may be sent: %t, %v", first, err)
			}
			adds(t, q.db, 1)
		})
	}
}

// If Redis cannot be asked, an event of which only Redis knows whether its task is
// running is not cancelled. Others are.
func TestNothingIsTakenBackWhileRedisCannotBeAsked(t *testing.T) {
	t.Parallel()
	q := newQueued(t)
	rt.Exec(t, q.db, "SELECT outboxd.emit('mail', '{}'), outboxd.emit('other', '{}')")
	ids := q.relay()
	closed := jobstest.OpenRedis(t, servertest.Redis(t))
	finder := lookup.New(closed)
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	changes, err := recall.New(q.db).Asking(finder).Cancel(t.Context(), &domain.Action{Actor: "ada"}, ids)
	if err != nil || len(changes) != 2 || changes[0].Answer != domain.TooLateInFlight || changes[1].Answer != domain.ChangeCancelled {
		t.Errorf("%v, %v, want that the mail is in flight and the other event is cancelled", changes, err)
	}
}

// An event is cancelled with its deliveries that wait in Redis. While a worker has one
// of them, nothing is cancelled.
func TestADeliveryThatWaitsInRedisIsTakenBackWithItsEvent(t *testing.T) {
	t.Parallel()
	q := newQueued(t)
	subscribe(t, q.db, "crm")
	rt.Exec(t, q.db, "SELECT outboxd.emit('user:created', '{}')")
	rt.RelayAll(t, q.store)
	id := eventOf(t, q.db, "user:created")
	delivery, err := domain.ParseID(answer(t, q.db.SQL(), "SELECT id FROM outbox_sent WHERE subscription IS NOT NULL"))
	if err != nil {
		t.Fatal(err)
	}
	cancel := func(want domain.ChangeAnswer) {
		t.Helper()
		changes, err := q.changes.Cancel(t.Context(), &domain.Action{Actor: "ada"}, []domain.ID{id})
		if err != nil || changes[0].Answer != want {
			t.Fatalf("cancel: %v, %v, want %s", changes, err, want)
		}
	}
	queue := setup.SubscriptionQueuePrefix + "crm"
	q.take(delivery, queue)
	cancel(domain.TooLateRunning)
	if n := rt.Count(t, q.db, "SELECT count(*) FROM outbox_cancelled"); n != 0 {
		t.Errorf("%d of an event and its delivery are cancelled", n)
	}
	q.redis.HSet(t.Context(), "asynq:{"+queue+"}:t:"+delivery.String(), "state", "retry")
	cancel(domain.ChangeCancelled)
	if n := rt.Count(t, q.db, "SELECT count(*) FROM outbox_cancelled"); n != 2 {
		t.Errorf("%d of an event and its delivery are cancelled, want both", n)
	}
	adds(t, q.db, 2)
}

// Workers take mails, ask and send them, while somebody cancels them. What is cancelled
// is not sent.
func TestWhatIsCancelledIsNotSent(t *testing.T) {
	t.Parallel()
	const mails = 60
	q := newQueued(t)
	rt.Exec(t, q.db, "SELECT outboxd.emit('mail', '{}') FROM generate_series(1, $1)", mails)
	ids := q.relay()
	inbox := confirm.NewInbox(q.db)
	var mu sync.Mutex
	sent := map[domain.ID]bool{}
	var all sync.WaitGroup
	for part := range slices.Chunk(ids, mails/6) {
		all.Go(func() {
			for _, id := range part {
				q.take(id, "default")
				if first, err := inbox.Ask(t.Context(), id); err != nil || !first {
					continue
				}
				mu.Lock()
				sent[id] = true
				mu.Unlock()
				if first, err := inbox.Process(t.Context(), id, func(context.Context, domain.Effects) error { return nil }); err != nil || !first {
					t.Errorf("%s was sent and is not confirmed: %t, %v", id, first, err)
				}
			}
		})
	}
	cancelled := map[domain.ID]bool{}
	for _, id := range slices.Backward(ids) { // half of them meet their worker
		changes, err := q.changes.Cancel(t.Context(), &domain.Action{Actor: "ada"}, []domain.ID{id})
		if err != nil {
			t.Fatal(err)
		}
		cancelled[id] = changes[0].Answer == domain.ChangeCancelled
	}
	all.Wait()
	for _, id := range ids {
		if sent[id] && cancelled[id] {
			t.Errorf("%s was cancelled and sent", id)
		}
	}
	t.Logf("%d mails were sent", len(sent))
}

// What a producer asked for in its transaction is carried out afterwards, and the
// timeline says how it ended.
func TestARequestIsCarriedOut(t *testing.T) {
	t.Parallel()
	q := newQueued(t)
	rt.Exec(t, q.db, "SELECT outboxd.emit('mail', to_jsonb(n)) FROM generate_series(1, 4) AS n")
	ids := q.relay()
	tx, err := q.db.SQL().Begin()
	if err != nil {
		t.Fatal(err)
	}
	if got := answer(t, tx, "SELECT outboxd.cancel($1, 'wrong price')", ids[0]); got != "requested" {
		t.Fatalf("cancel: %s", got)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	carryOut := func(want string) {
		t.Helper()
		out, err := q.changes.CarryOut(t.Context(), domain.ID{}, 10, true)
		got := ""
		for _, a := range out.Changes {
			got += fmt.Sprintf("%d %s ", slices.Index(ids, a.ID), a.Answer)
		}
		if err != nil || out.Queue != nil || !out.Last.IsZero() || got != want {
			t.Fatalf("%q, %+v, %v, want %q", got, out, err, want)
		}
	}
	carryOut("")
	rt.Exec(t, q.db, "SELECT outboxd.cancel($1, 'wrong price')", ids[0])
	rt.Exec(t, q.db, "SELECT outboxd.reschedule($1, '2200-01-01 12:00+00')", ids[1])
	rt.Exec(t, q.db, "SELECT outboxd.cancel($1)", ids[2])
	rt.Exec(t, q.db, "SELECT outboxd.cancel($1)", ids[3])
	q.take(ids[2], "default")
	q.take(ids[3], "default")
	carryOut("0 cancelled 1 rescheduled 2 running 3 running ")
	if first, err := confirm.NewInbox(q.db).Process(t.Context(), ids[2], func(context.Context, domain.Effects) error { return nil }); err != nil || !first {
		t.Fatalf("confirm: %t, %v", first, err)
	}
	q.redis.HSet(t.Context(), "asynq:{default}:t:"+ids[3].String(), "state", "retry")
	carryOut("2 confirmed 3 cancelled ")
	carryOut("")
	for i, want := range []string{
		"requested to be cancelled, by outboxd: wrong price; cancelled by outboxd: wrong price",
		"requested to be moved to 2200-01-01 12:00:00 UTC, by outboxd; rescheduled to 2200-01-01 12:00:00 UTC",
		"requested to be cancelled, by outboxd; too late not cancelled: confirmed, asked by outboxd",
		"requested to be cancelled, by outboxd; cancelled by outboxd",
	} {
		if got := q.journal(ids[i]); len(got) < len(want) || got[:len(want)] != want {
			t.Errorf("the timeline of event %d: %q, want %q", i, got, want)
		}
	}
	adds(t, q.db, 2)
}
