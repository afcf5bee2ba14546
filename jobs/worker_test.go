package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/jobs"
	"outboxd/migrations"
	"outboxd/repository"
	"outboxd/repository/postgres"
)

// shop is a worker on a real PostgreSQL and a real Redis.
type shop struct {
	t         *testing.T
	db        *postgres.Database
	redis     *redis.Client
	inspector *asynq.Inspector
	client    *asynq.Client
	registry  *prometheus.Registry
	options   jobs.WorkerOptions
}

func newShop(t *testing.T, redisURL string, handlers map[string]jobs.Handler) *shop {
	t.Helper()
	handle := openRedis(t, redisURL)
	client := handle.MakeRedisClient().(*redis.Client)
	t.Cleanup(func() { _ = client.Close() })
	db := schematest.Open(t)
	registry := prometheus.NewRegistry()
	return &shop{
		t: t, db: db, redis: client, registry: registry,
		inspector: asynq.NewInspectorFromRedisClient(client), client: asynq.NewClientFromRedisClient(client),
		options: jobs.WorkerOptions{
			Redis: handle, Inbox: repository.NewInbox(db), Handlers: handlers,
			Concurrency: 4, Queues: map[string]int{"default": 2, "low": 1}, PollInterval: 5 * time.Millisecond,
			Drain: 5 * time.Second, Logger: servertest.Logger(t), Registry: registry,
		},
	}
}

// start runs the worker until the returned function is called or the test ends.
func (s *shop) start() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	worker := jobs.NewWorker(s.options)
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Errorf("the worker: %v", err)
		}
	})
	s.t.Cleanup(stop)
	return stop
}

func (s *shop) enqueue(taskType, id string, payload []byte, options ...asynq.Option) {
	s.t.Helper()
	_, err := s.client.EnqueueContext(s.t.Context(), asynq.NewTask(taskType, payload), append(options, asynq.TaskID(id))...)
	if err != nil {
		s.t.Fatal(err)
	}
}

// eventually waits for a condition; half a minute is only the length of a failure.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !condition() {
		select {
		case <-look.C:
		case <-deadline.C:
			t.Fatalf("after 30 s still not: %s", what)
		}
	}
}

func (s *shop) state(queue, id string) func(asynq.TaskState) bool {
	return func(want asynq.TaskState) bool {
		info, err := s.inspector.GetTaskInfo(queue, id)
		return err == nil && info.State == want
	}
}

func (s *shop) outcomes(taskType, outcome string) float64 {
	s.t.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if l := m.GetLabel(); family.GetName() == "outboxd_worker_tasks_total" && l[0].GetValue() == outcome && l[1].GetValue() == taskType {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

func newID(n byte) domain.ID { return domain.ID{0x01, 0x90, 6: 0x70, 8: 0x80, 15: n} }

// recorder is a notifier that counts, and fails as it is told.
type recorder struct {
	mu   sync.Mutex
	sent []domain.Message
	fail func(n int) error
}

func (r *recorder) Send(_ context.Context, m domain.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = append(r.sent, m)
	if r.fail != nil {
		return r.fail(len(r.sent))
	}
	return nil
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sent)
}

// register writes a user and returns it with its notification and the payload of the event.
func (s *shop) register() (domain.User, domain.Notification, []byte) {
	s.t.Helper()
	users := repository.NewUsers(s.db)
	user := domain.User{Email: "ada@example.com", PasswordHash: "x"}
	if err := users.Register(s.t.Context(), &user, "", nil); err != nil {
		s.t.Fatal(err)
	}
	_, notifications, err := users.FindUser(s.t.Context(), user.ID)
	if err != nil {
		s.t.Fatal(err)
	}
	return user, notifications[0], fmt.Appendf(nil, `{"user_id":%q,"notification_id":%q,"notification_type":%q}`, user.ID, notifications[0].ID, notifications[0].Type)
}

func (s *shop) status(user domain.ID) domain.NotificationStatus {
	s.t.Helper()
	_, notifications, err := repository.NewUsers(s.db).FindUser(s.t.Context(), user)
	if err != nil {
		s.t.Fatal(err)
	}
	return notifications[0].Status
}

func TestANotificationIsSentOnce(t *testing.T) {
	t.Parallel()
	notifier := &recorder{}
	s := newShop(t, servertest.Redis(t), map[string]jobs.Handler{domain.TypeSendNotification: jobs.SendNotification(notifier)})
	user, notification, payload := s.register()
	s.start()
	id := newID(1)
	s.enqueue(domain.TypeSendNotification, id.String(), payload)
	eventually(t, "the notification is SENT", func() bool { return s.status(user.ID) == domain.NotificationSent })
	if m := notifier.sent[0]; m.EventID != id || m.To != user.Email || m.Text != domain.WelcomeMessage || m.UserID != user.ID || m.NotificationID != notification.ID {
		t.Errorf("sent %+v", m)
	}
	// Delivered again: once as Asynq would after a lost lease, once replayed.
	for n, again := range []string{id.String(), id.String() + ".1"} {
		eventually(t, "the task is gone", func() bool {
			_, err := s.inspector.GetTaskInfo("default", again)
			return errors.Is(err, asynq.ErrTaskNotFound)
		})
		s.enqueue(domain.TypeSendNotification, again, payload)
		eventually(t, "the repeat is counted", func() bool { return s.outcomes(domain.TypeSendNotification, "repeated") == float64(n+1) })
	}
	if n := notifier.count(); n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
	if n, err := testutil.GatherAndCount(s.registry, "outboxd_worker_event_done_seconds"); err != nil || n != 1 {
		t.Errorf("the end-to-end histogram: %d, %v", n, err)
	}
}

func TestWhatCannotBeUnderstoodIsArchivedAtOnce(t *testing.T) {
	t.Parallel()
	notifier := &recorder{}
	s := newShop(t, servertest.Redis(t), map[string]jobs.Handler{domain.TypeSendNotification: jobs.SendNotification(notifier)})
	user, notification, good := s.register()
	tests := []struct{ id, payload, want string }{
		{newID(1).String(), `{broken`, "not a notification to send"},
		{newID(2).String(), `{}`, "needs user_id"},
		{newID(3).String(), fmt.Sprintf(`{"user_id":%q,"notification_id":"%s","notification_type":"T"}`, user.ID, newID(99)), "does not exist"},
		{newID(4).String(), fmt.Sprintf(`{"user_id":%q,"notification_id":%q,"notification_type":"OTHER"}`, user.ID, notification.ID), "does not match"},
		{newID(5).String(), fmt.Sprintf(`{"user_id":"x","notification_id":%q,"notification_type":"T"}`, notification.ID), "not a notification to send"},
		{"by-hand", string(good), "not relayed from the outbox"},
	}
	for _, test := range tests {
		s.enqueue(domain.TypeSendNotification, test.id, []byte(test.payload), asynq.MaxRetry(5))
	}
	s.start()
	for _, test := range tests {
		archived := s.state("default", test.id)
		eventually(t, test.payload+" is archived", func() bool { return archived(asynq.TaskStateArchived) })
		info, err := s.inspector.GetTaskInfo("default", test.id)
		if err != nil {
			t.Fatal(err)
		}
		if info.Retried != 0 || !strings.Contains(info.LastErr, test.want) {
			t.Errorf("%s: retried %d times, error %q, want one with %q", test.payload, info.Retried, info.LastErr, test.want)
		}
	}
	if notifier.count() != 0 || s.status(user.ID) != domain.NotificationPending {
		t.Error("something was sent")
	}
}

func TestAFailedSendingIsRetriedWhenTheReceiverAsks(t *testing.T) {
	t.Parallel()
	notifier := &recorder{fail: func(n int) error {
		if n == 1 {
			return &domain.Error{Code: domain.CodeUnavailable, Message: "busy", RetryAfter: time.Second}
		}
		return nil
	}}
	s := newShop(t, servertest.Redis(t), map[string]jobs.Handler{domain.TypeSendNotification: jobs.SendNotification(notifier)})
	user, _, payload := s.register()
	s.start()
	s.enqueue(domain.TypeSendNotification, newID(1).String(), payload)
	eventually(t, "the notification is SENT", func() bool { return s.status(user.ID) == domain.NotificationSent })
	if n := notifier.count(); n != 2 {
		t.Errorf("%d attempts, want 2", n)
	}
	eventually(t, "one failure and one success are counted", func() bool {
		return s.outcomes(domain.TypeSendNotification, "failed") == 1 && s.outcomes(domain.TypeSendNotification, "done") == 1
	})
}

func TestARefusedMessageIsGivenUp(t *testing.T) {
	t.Parallel()
	notifier := &recorder{fail: func(int) error { return domain.Errorf(domain.CodeInvalid, "no such mailbox") }}
	s := newShop(t, servertest.Redis(t), map[string]jobs.Handler{domain.TypeSendNotification: jobs.SendNotification(notifier)})
	user, _, payload := s.register()
	s.start()
	id := newID(1).String()
	s.enqueue(domain.TypeSendNotification, id, payload)
	archived := s.state("default", id)
	eventually(t, "the task is archived", func() bool { return archived(asynq.TaskStateArchived) })
	if n := notifier.count(); n != 1 || s.status(user.ID) != domain.NotificationPending {
		t.Errorf("%d attempts, status %s", n, s.status(user.ID))
	}
}

// A panic is a failure like any other, and leaves no trace in the database.
func TestAPanicIsRolledBack(t *testing.T) {
	t.Parallel()
	s := newShop(t, servertest.Redis(t), nil)
	user, notification, _ := s.register()
	s.options.Handlers = map[string]jobs.Handler{"test:panic": func(ctx context.Context, tx domain.Effects, _ jobs.Task) error {
		if err := tx.MarkSent(ctx, notification.ID); err != nil {
			return err
		}
		panic("in the handler")
	}}
	s.start()
	id := newID(1).String()
	s.enqueue("test:panic", id, nil, asynq.MaxRetry(0))
	archived := s.state("default", id)
	eventually(t, "the task is archived", func() bool { return archived(asynq.TaskStateArchived) })
	if s.status(user.ID) != domain.NotificationPending {
		t.Error("the panicking handler's change was kept")
	}
	info, err := s.inspector.GetTaskInfo("default", id)
	if err != nil || !strings.Contains(info.LastErr, "in the handler") {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestTheWorkerWaitsForRedisAndRunsAgain(t *testing.T) {
	t.Parallel()
	server := servertest.OwnRedis(t)
	notifier := &recorder{}
	s := newShop(t, server.URL(), map[string]jobs.Handler{domain.TypeSendNotification: jobs.SendNotification(notifier)})
	user, _, payload := s.register()
	s.enqueue(domain.TypeSendNotification, newID(1).String(), payload)
	server.Kill()
	s.start()
	server.Start()
	eventually(t, "the notification is SENT", func() bool { return s.status(user.ID) == domain.NotificationSent })
}

// A task that runs when the worker is stopped is finished first.
func TestStoppingFinishesTheTask(t *testing.T) {
	t.Parallel()
	running, finish := make(chan struct{}), make(chan struct{})
	s := newShop(t, servertest.Redis(t), map[string]jobs.Handler{"test:slow": func(context.Context, domain.Effects, jobs.Task) error {
		close(running)
		<-finish
		return nil
	}})
	stop := s.start()
	s.enqueue("test:slow", newID(1).String(), nil)
	<-running
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	close(finish)
	<-stopped
	if n := s.outcomes("test:slow", "done"); n != 1 {
		t.Errorf("%v tasks done, want 1", n)
	}
}

// A database that is away costs tasks time and no attempt.
func TestTasksWaitForTheDatabase(t *testing.T) {
	t.Parallel()
	server := servertest.OwnPostgres(t)
	db := schematest.Connect(t, server.URL())
	if _, err := migrations.Up(t.Context(), db.SQL(), servertest.Logger(t)); err != nil {
		t.Fatal(err)
	}
	s := newShop(t, servertest.Redis(t), map[string]jobs.Handler{
		"test:a": func(context.Context, domain.Effects, jobs.Task) error { return nil },
	})
	asked := make(chan struct{}, 100)
	s.options.Inbox = &watchedInbox{repository.NewInbox(db), asked}
	server.Stop()
	stop := s.start()
	s.enqueue("test:a", newID(1).String(), nil, asynq.MaxRetry(0), asynq.Retention(time.Hour))
	s.enqueue("test:a", newID(2).String(), nil, asynq.MaxRetry(1), asynq.Retention(time.Hour))
	for range 6 {
		<-asked
	}
	stop() // the second goes back at once, the first when Asynq takes it back
	for _, id := range []string{newID(1).String(), newID(2).String()} {
		info, err := s.inspector.GetTaskInfo("default", id)
		if err != nil || info.Retried != 0 || info.State == asynq.TaskStateArchived {
			t.Errorf("task %s after a stop: %+v, %v, want one that is still to be done", id, info, err)
		}
	}
	s.options.Registry = prometheus.NewRegistry()
	s.start()
	<-asked
	server.Start()
	for _, id := range []string{newID(1).String(), newID(2).String()} {
		completed := s.state("default", id)
		eventually(t, "task "+id+" is done", func() bool { return completed(asynq.TaskStateCompleted) })
	}
}

// watchedInbox says when it is asked.
type watchedInbox struct {
	domain.Inbox
	asked chan struct{}
}

func (i *watchedInbox) Process(ctx context.Context, id domain.ID, effect func(context.Context, domain.Effects) error) (bool, error) {
	defer func() {
		select {
		case i.asked <- struct{}{}:
		default:
		}
	}()
	return i.Inbox.Process(ctx, id, effect)
}
