package repository_test

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/domain/setup"
	"outboxd/repository"
	"outboxd/repository/deadletters"
	"outboxd/repository/heal"
	"outboxd/repository/postgres"
	"outboxd/repository/repositorytest"
	"outboxd/repository/subscriptions"
	"outboxd/repository/upkeep"
)

// subscribe adds the subscriptions of list, or changes them. Each gets a URL and the defaults.
func subscribe(t testing.TB, db *postgres.Database, list ...setup.Subscription) {
	t.Helper()
	for i := range list {
		list[i].URL = "http://receiver.example.com"
		list[i] = list[i].WithDefaults()
	}
	if _, err := subscriptions.New(db).Apply(t.Context(), &domain.Action{Actor: "ada"}, list); err != nil {
		t.Fatal(err)
	}
}

func wants(name string, types ...string) setup.Subscription {
	return setup.Subscription{Name: name, Types: types}
}

// wentWhere relays all due events and deliveries, and returns the queue and type of each,
// sorted.
func wentWhere(t testing.TB, store *repository.Outbox) string {
	t.Helper()
	var went []string
	for {
		batch := claim(t, store, 100)
		for _, e := range batch.Events() {
			went = append(went, e.Queue+"/"+e.Type)
		}
		if len(batch.Events()) > 0 {
			deliver(t, batch)
		} else if !batch.Full() && !batch.Advanced() {
			slices.Sort(went)
			return strings.Join(went, " ")
		}
	}
}

// A subscription gets neither types that only begin alike nor events without its headers, and LIKE's own characters
// stand for themselves.
func TestAnEventGoesToEverySubscriptionThatMatches(t *testing.T) {
	t.Parallel()
	for name, history := range map[string]bool{"history": true, "no history": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := schematest.Open(t)
			store := repository.NewOutbox(db, repository.OutboxOptions{History: history})
			eu := wants("eu", "user:*", "user:new")
			eu.Headers = map[string]string{"region": "eu"}
			subscribe(t, db, wants("crm", "user:*", "order:paid"), eu, wants("odd", "a_b%"))
			exec(t, db, `SELECT outboxd.emit('user:new', '{"n": 1}', headers => '{"region": "eu", "x": "y"}'), outboxd.emit('user:gone', '{}'), outboxd.emit('order:paid', '{}', queue => 'low'),
				outboxd.emit('order:paid:twice', '{}'), outboxd.emit('axb%', '{}'), outboxd.emit('a_b%', '{}')`)
			want := "default/a_b% default/axb% default/order:paid:twice default/user:gone default/user:new low/order:paid " +
				"subscription:crm/order:paid subscription:crm/user:gone subscription:crm/user:new subscription:eu/user:new subscription:odd/a_b%"
			if got := wentWhere(t, store); got != want {
				t.Errorf("went\n%s\nwant\n%s", got, want)
			}
			if n := count(t, db, "SELECT coalesce(sum(deliveries), 0) FROM outbox_entries"); n != 5 {
				t.Errorf("the account has %d deliveries, want 5", n)
			}
			balance(t, db)
		})
	}
}

// A delivery has the type, payload, headers and time of its event, but not the event's queue and options.
func TestADeliveryCarriesItsEvent(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	s := wants("crm", "user:*")
	s.Attempts = 5
	subscribe(t, db, s)
	exec(t, db, `SELECT outboxd.emit('user:new', '{"n": 1}', headers => '{"traceparent": "x"}', queue => 'low', ordering_key => 'customer-3', max_retry => 99, unique_seconds => 60, deadline => now() + interval '1 hour')`)
	claimed := claimEvents(t, store).Events()
	if len(claimed) != 2 {
		t.Fatalf("%+v, want an event and its delivery", claimed)
	}
	slices.SortFunc(claimed, func(a, b domain.Event) int { return cmp.Compare(a.Queue, b.Queue) })
	e, d := claimed[0], claimed[1]
	if d.Origin != e.ID || d.Subscription != "crm" || d.Type != e.Type || string(d.Payload) != string(e.Payload) || d.Queue != "subscription:crm" ||
		d.Headers["traceparent"] != "x" || d.Headers[domain.HeaderOrigin] != e.ID.String() || d.Headers[domain.HeaderQueue] != "low" || d.Headers[domain.HeaderKey] != "customer-3" || *d.Options.MaxRetry != 4 || d.Options.Unique != 0 || !d.Options.Deadline.IsZero() ||
		!d.CreatedAt.Equal(e.CreatedAt) {
		t.Errorf("%+v", d)
	}
	made, ok := e.ID.Time()
	if at, told := d.ID.Time(); !ok || !told || !at.Equal(made) {
		t.Errorf("the delivery's ID %s tells the time %s, the event's %s tells %s", d.ID, at, e.ID, made)
	}
}

// Headers as large as the outbox accepts take little room in a table, because PostgreSQL compresses them. They leave no
// room for those that name the event.
func TestAnEventWithTheLargestHeadersHasItsDeliveries(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	subscribe(t, db, wants("crm", "user:*"))
	exec(t, db, `SELECT outboxd.emit('user:new', '{}', headers => jsonb_build_object('a', repeat('x', 65500)))`)
	if went := wentWhere(t, store); went != "default/user:new subscription:crm/user:new" {
		t.Errorf("went %q, want the event and its delivery", went)
	}
	balance(t, db)
}

// Deliveries are made at the first claim of an event. They are not made when the event is refused, healed, replayed,
// released from its key's queue, or written again.
func TestAnEventIsSplitOnce(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	letters := deadletters.New(db)
	deliveries := func() int {
		t.Helper()
		return count(t, db, "SELECT coalesce(sum(deliveries), 0) FROM (SELECT deliveries FROM outbox_entries UNION ALL SELECT deliveries FROM outbox_account) AS e")
	}
	settle := func(outcome domain.Outcome) {
		t.Helper()
		batch := claimEvents(t, store)
		outcomes := slices.Repeat([]domain.Outcome{outcome}, len(batch.Events()))
		if err := batch.Commit(t.Context(), outcomes); err != nil {
			t.Fatal(err)
		}
	}
	refused := domain.Outcome{Verdict: domain.Refused, Err: errors.New("no")}
	redrive := func(want int64) {
		t.Helper()
		if n, err := heal.NewRedriver(db).Redrive(t.Context(), 3600e9); err != nil || n != want {
			t.Errorf("healed %d, %v, want %d", n, err, want)
		}
	}
	// These events were claimed before there were subscriptions: they are
	// refused, sent, dead or held.
	exec(t, db, "SELECT outboxd.emit('old:refused', '{}')")
	settle(refused)
	exec(t, db, "SELECT outboxd.emit('old:dead', '{}')")
	batch := claimEvents(t, store)
	dead := make([]domain.Outcome, len(batch.Events()))
	for i := range dead {
		dead[i] = refused
		if batch.Events()[i].Type == "old:dead" {
			dead[i] = domain.Outcome{Verdict: domain.Dead, Err: errors.New("no")}
		}
	}
	if err := batch.Commit(t.Context(), dead); err != nil {
		t.Fatal(err)
	}
	emitKeyed(t, db, "k1", "k2")
	relayAll(t, store)
	subscribe(t, db, wants("all", "*"))
	redrive(2) // old:refused and k1
	if _, err := letters.Replay(t.Context(), &domain.Action{Actor: "ada"}, domain.DeadFilter{}, 10); err != nil {
		t.Fatal(err)
	}
	confirmEvent(t, db, "k1")
	if got := wentWhere(t, store); strings.Contains(got, "subscription") || deliveries() != 0 {
		t.Errorf("%s went; events from before the subscription have %d deliveries", got, deliveries())
	}

	// A new event meets a subscription: it is split at its first claim and never again.
	exec(t, db, "SELECT outboxd.emit('new', '{}')")
	settle(refused)
	settle(refused) // its delivery too
	relayAll(t, store)
	if n := deliveries(); n != 1 {
		t.Errorf("%d deliveries of a refused event, want 1", n)
	}
	redrive(5) // new and its delivery, k2, old:refused, old:dead
	relayAll(t, store)
	exec(t, db, "INSERT INTO outbox (id, event_type, payload) SELECT id, event_type, payload FROM outbox_sent WHERE event_type = 'new' AND subscription IS NULL")
	exec(t, db, "INSERT INTO inbox SELECT id FROM outbox_sent WHERE subscription IS NOT NULL")
	relayAll(t, store)
	if n := deliveries(); n != 1 {
		t.Errorf("%d deliveries of an event that was sent again and written again, want 1", n)
	}
	if n := count(t, db, "SELECT count(DISTINCT id) FROM outbox_sent WHERE subscription = 'all'"); n != 1 {
		t.Errorf("%d deliveries are in the history, want 1", n)
	}
	balance(t, db)
}

// An event that is written again gets no second delivery.
func TestARepeatMeetsTheDeliveryThatThereIs(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	subscribe(t, db, wants("all", "*"))
	const id = "019a0000-0000-7000-8000-000000000001"
	for range 3 {
		exec(t, db, "INSERT INTO outbox (id, event_type, payload) VALUES ($1, 'again', '')", id)
		relayAll(t, store)
	}
	if n := count(t, db, "SELECT count(DISTINCT id) FROM outbox_sent WHERE subscription = 'all'"); n != 1 {
		t.Errorf("%d deliveries, want 1", n)
	}
	balance(t, db)
}

// Release stands for a crash before the commit.
func TestAReleasedClaimMakesNoDelivery(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	subscribe(t, db, wants("all", "*"))
	emit(t, db, 1)
	batch := claim(t, store, 10)
	if n, _ := batch.Deliveries(); n != 1 {
		t.Errorf("%d deliveries, want 1", n)
	}
	if err := batch.Release(); err != nil {
		t.Fatal(err)
	}
	if n := count(t, db, "SELECT count(*) FROM outbox"); n != 1 {
		t.Errorf("%d rows are left, want 1", n)
	}
	if got := wentWhere(t, store); got != "default/test:1 subscription:all/test:1" {
		t.Error(got)
	}
	balance(t, db)
}

// An event that has only deliveries is confirmed when both have ended: one is confirmed, and one is discarded.
func TestAnEventInsteadOfItsQueueIsConfirmedWithItsDeliveries(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	instead := wants("one", "new")
	instead.InsteadOfQueue = true
	subscribe(t, db, instead, wants("two", "*"))
	exec(t, db, "SELECT outboxd.emit('new', '{}', ordering_key => 'k'), outboxd.emit('other', '{}')")
	confirmed := func(want int) {
		t.Helper()
		if n := count(t, db, "SELECT count(*) FROM inbox JOIN outbox_sent ON id = event_id WHERE event_type = 'new' AND subscription IS NULL"); n != want {
			t.Errorf("the event is confirmed %d times, want %d", n, want)
		}
	}
	if got := wentWhere(t, store); got != "default/other subscription:one/new subscription:two/new subscription:two/other" {
		t.Error(got)
	}
	exec(t, db, "SELECT outboxd.confirm(id) FROM outbox_sent WHERE subscription = 'one'")
	confirmed(0)
	if n, err := heal.NewRedriver(db).Redrive(t.Context(), 3600e9); err != nil || n != 3 {
		t.Errorf("healed %d, %v, want the two deliveries and the event that has a task", n, err)
	}
	die(t, store, "no")
	confirmed(0)
	if _, err := deadletters.New(db).Discard(t.Context(), &domain.Action{Actor: "ada"}, domain.DeadFilter{}, 10); err != nil {
		t.Fatal(err)
	}
	confirmed(1)
	balance(t, db)
}

// A producer writes an event again whose type has a subscription instead of its queue by now. The history no longer has
// the first row. The one delivery was confirmed before, waits for Redis, or was given up.
func TestAnEventThatIsWrittenAgainEndsWithItsEarlierDelivery(t *testing.T) {
	t.Parallel()
	const id = "019a0000-0000-7000-8000-000000000001"
	write := func(t *testing.T, db *postgres.Database, store *repository.Outbox, want string) {
		t.Helper()
		exec(t, db, "INSERT INTO outbox (id, event_type, payload) VALUES ($1, 'new', '')", id)
		if got := wentWhere(t, store); got != want {
			t.Errorf("went %q, want %q", got, want)
		}
	}
	for name, earlier := range map[string]func(t *testing.T, db *postgres.Database) (later string){
		"confirmed": func(t *testing.T, db *postgres.Database) string {
			exec(t, db, "SELECT outboxd.confirm(id) FROM outbox_sent WHERE subscription = 'one'")
			return ""
		},
		"pending": func(t *testing.T, db *postgres.Database) string {
			exec(t, db, "SELECT outbox_reschedule_one(id, now() + interval '1 hour', 'ada', '', true) FROM outbox_sent WHERE subscription = 'one'")
			return ""
		},
		"in flight": func(*testing.T, *postgres.Database) string { return "subscription:one/new" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, store := repositorytest.Outbox(t)
			one := wants("one", "new")
			subscribe(t, db, one)
			write(t, db, store, "default/new subscription:one/new")
			later := earlier(t, db)
			exec(t, db, "DELETE FROM outbox_sent WHERE id = $1", id)
			one.InsteadOfQueue = true
			subscribe(t, db, one)
			write(t, db, store, later)
			lookAfterDeliveries(t, db)
			confirmed := func() int { return count(t, db, "SELECT count(*) FROM inbox WHERE event_id = '"+id+"'") }
			if name != "confirmed" && confirmed() != 0 {
				t.Error("the event is confirmed, and its delivery is not")
			}
			exec(t, db, "UPDATE outbox_void_tasks SET until = '-infinity'")
			exec(t, db, "SELECT outboxd.confirm(id) FROM (SELECT id FROM outbox WHERE subscription = 'one' UNION SELECT id FROM outbox_sent WHERE subscription = 'one') AS delivery")
			if confirmed() != 1 {
				t.Error("the delivery has ended, and the event is not confirmed")
			}
			if n := count(t, db, "SELECT count(*) FROM outbox_awaited"); n != 0 {
				t.Errorf("%d deliveries are awaited", n)
			}
		})
	}
}

// lookAfterDeliveries does what the leader does twice a minute.
func lookAfterDeliveries(t *testing.T, db *postgres.Database) {
	t.Helper()
	if _, err := upkeep.NewHousekeeping(db, "").ConfirmDelivered(t.Context(), domain.ID{}, 1000); err != nil {
		t.Fatal(err)
	}
}

// A delivery is confirmed in a transaction that is still open while its event is written again and claimed. Neither sees
// the other. The event is confirmed all the same when that transaction has ended, and not before. The relay has
// forgotten the delivery, or it is still pending, or the event waits for it already.
func TestADeliveryThatEndsWhileItsEventIsWrittenAgainConfirmsIt(t *testing.T) {
	t.Parallel()
	const id = "019a0000-0000-7000-8000-000000000001"
	const write = "INSERT INTO outbox (id, event_type, payload) VALUES ('" + id + "', 'new', '')"
	for name, before := range map[string]struct {
		instead bool
		moved   string
	}{
		"in flight": {false, "SELECT"},
		"pending":   {false, "SELECT outbox_reschedule_one(id, now() - interval '1 second', 'ada', '', true) FROM outbox_sent WHERE subscription = 'one'"},
		"awaited":   {true, "SELECT outbox_reschedule_one(id, now() - interval '1 second', 'ada', '', true) FROM outbox_sent WHERE subscription = 'one'"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, store := repositorytest.Outbox(t)
			one := wants("one", "new")
			one.InsteadOfQueue = before.instead
			subscribe(t, db, one)
			exec(t, db, write)
			relayAll(t, store)
			exec(t, db, "DELETE FROM outbox_sent WHERE id = '"+id+"'")
			exec(t, db, before.moved)
			one.InsteadOfQueue = true
			subscribe(t, db, one)
			open := repository.Begin(t.Context(), db)
			defer open.Rollback()
			if err := open.Exec("SELECT outboxd.confirm(id) FROM (SELECT id FROM outbox WHERE subscription = 'one' UNION SELECT id FROM outbox_sent WHERE subscription = 'one') AS delivery").Error; err != nil {
				t.Fatal(err)
			}
			exec(t, db, write)
			relayAll(t, store)
			confirmed := func() int { return count(t, db, "SELECT count(*) FROM inbox WHERE event_id = '"+id+"'") }
			for range 2 {
				lookAfterDeliveries(t, db)
			}
			if confirmed() != 0 {
				t.Error("the event is confirmed, and its delivery is not")
			}
			if err := open.Commit().Error; err != nil {
				t.Fatal(err)
			}
			lookAfterDeliveries(t, db)
			if confirmed() != 1 {
				t.Error("the delivery has ended, and the event is not confirmed")
			}
			if n := count(t, db, "SELECT count(*) FROM outbox_awaited"); n != 0 {
				t.Errorf("%d deliveries are awaited", n)
			}
		})
	}
}

// An event went to its queue. Then it was written again, when its type had a subscription instead of the queue. The end
// of the delivery must not keep the task in the queue from its effect.
func TestADeliveryDoesNotConfirmAnEventThatHasATask(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	const id = "019a0000-0000-7000-8000-000000000001"
	const write = "INSERT INTO outbox (id, event_type, payload) VALUES ($1, 'new', '')"
	exec(t, db, write, id)
	relayAll(t, store)
	one := wants("one", "new")
	one.InsteadOfQueue = true
	subscribe(t, db, one)
	exec(t, db, write, id)
	if got := wentWhere(t, store); got != "subscription:one/new" {
		t.Fatal(got)
	}
	exec(t, db, "SELECT outboxd.confirm(id) FROM outbox_sent WHERE subscription = 'one'")
	if n := count(t, db, "SELECT count(*) FROM (SELECT outboxd.confirm('"+id+"') AS first) AS task WHERE first"); n != 1 {
		t.Error("the task in the queue has no effect")
	}
	balance(t, db)
}

// An event was moved to a later time with its delivery. Then its delivery ends before that time.
func TestADeliveryEndsBeforeTheTimeOfItsEvent(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]string{
		"cancelled":           "SELECT outbox_cancel(id, 'ada', '', true) FROM outbox WHERE subscription = 'one'",
		"moved and delivered": "SELECT outbox_reschedule_one(id, now(), 'ada', '', true), outboxd.confirm(id) FROM (SELECT id FROM outbox WHERE subscription = 'one') AS delivery",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, store := repositorytest.Outbox(t)
			one := wants("one", "*")
			one.InsteadOfQueue = true
			subscribe(t, db, one)
			emit(t, db, 1)
			relayAll(t, store)
			exec(t, db, "SELECT outbox_reschedule(id, now() + interval '1 hour', 'ada', '', true) FROM outbox_sent WHERE subscription IS NULL")
			if n := count(t, db, "SELECT count(*) FROM outbox"); n != 2 {
				t.Fatalf("%d were moved, want the event and its delivery", n)
			}
			if n := count(t, db, "SELECT count(*) FROM inbox"); n != 0 {
				t.Errorf("%d are confirmed, and they were only moved", n)
			}
			if n := count(t, db, "SELECT count(*) FROM outbox_awaited"); n != 1 {
				t.Errorf("the event waits for %d deliveries, want 1", n)
			}
			exec(t, db, end)
			if n := count(t, db, "SELECT count(*) FROM inbox"); n != 2 {
				t.Errorf("%d are confirmed, want the event and its delivery", n)
			}
		})
	}
}

// Both deliveries of an event end in transactions that are open at the same time.
func TestTwoDeliveriesThatEndAtOnceConfirmTheirEvent(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	one, two := wants("one", "*"), wants("two", "*")
	one.InsteadOfQueue = true
	subscribe(t, db, one, two)
	emit(t, db, 1)
	relayAll(t, store)
	first := repository.Begin(t.Context(), db)
	if err := first.Exec("SELECT outboxd.confirm(id) FROM outbox_sent WHERE subscription = 'one'").Error; err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := db.SQL().ExecContext(t.Context(), "SELECT outboxd.confirm(id) FROM outbox_sent WHERE subscription = 'two'")
		done <- err
	}()
	awaitWaiting(t, db)
	if err := errors.Join(first.Commit().Error, <-done); err != nil {
		t.Fatal(err)
	}
	if n := count(t, db, "SELECT count(*) FROM inbox"); n != 3 {
		t.Errorf("%d confirmations, want those of two deliveries and of their event", n)
	}
}

// Later events of a key are claimed while the claim of an earlier one is still open.
func TestDeliveriesOfAKeyKeepItsOrder(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	crm, loose := wants("crm", "k*"), wants("loose", "k*")
	crm.Ordering = setup.OrderingKey
	picky := wants("picky", "k2", "k3")
	picky.Ordering = setup.OrderingKey
	subscribe(t, db, crm, loose, picky)
	emit(t, db, 1)
	emitKeyed(t, db, "k1")
	open := claim(t, store, 10) // k1 is held by it, and its deliveries are made
	emitKeyed(t, db, "k2", "k3")
	var went []string
	relay := func() {
		t.Helper()
		for {
			batch := claim(t, store, 1)
			events := slices.Clone(batch.Events())
			if len(events) == 0 && !batch.Full() && !batch.Advanced() {
				return
			}
			if len(events) > 0 {
				deliver(t, batch)
			}
			for _, e := range events {
				if e.Subscription == "crm" || e.Subscription == "picky" {
					went = append(went, e.Subscription+"/"+e.Type)
				}
				exec(t, db, "SELECT outboxd.confirm($1)", e.ID.String())
			}
		}
	}
	relay()
	if len(went) != 0 {
		t.Errorf("%q went before the deliveries of k1, which are not committed", went)
	}
	deliver(t, open)
	relay()
	slices.SortStableFunc(went, func(a, b string) int {
		keyA, _, _ := strings.Cut(a, "/")
		keyB, _, _ := strings.Cut(b, "/")
		return strings.Compare(keyA, keyB)
	})
	if got, want := strings.Join(went, " "), "crm/k1 crm/k2 crm/k3 picky/k2 picky/k3"; got != want {
		t.Errorf("went %s, want %s", got, want)
	}
	if n := count(t, db, "SELECT count(*) FROM outbox_held") + count(t, db, "SELECT count(*) FROM outbox_turns"); n != 0 {
		t.Errorf("%d are held or have a turn", n)
	}
	balance(t, db)
}

// No consumer confirms the type, but deliveries of it are confirmed. So the next delivery of the key waits for the one
// before, and a delivery that Redis lost is sent again.
func TestDeliveriesOfAnUnconfirmedTypeAreConfirmed(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	store := repository.NewOutbox(db, repository.OutboxOptions{History: true, Unconfirmed: []string{"log"}})
	s := wants("crm", "log")
	s.Ordering = setup.OrderingKey
	subscribe(t, db, s)
	exec(t, db, `SELECT outboxd.emit('log', '{}', ordering_key => 'k'); SELECT outboxd.emit('log', '{}', ordering_key => 'k')`)
	if got, want := wentWhere(t, store), "default/log default/log subscription:crm/log"; got != want {
		t.Errorf("went %s, want %s", got, want)
	}
	redriver := heal.NewRedriver(db)
	n, _, err := redriver.CountRedrive(t.Context(), heal.RedriveFilter{Since: time.Hour, Except: []string{"log"}})
	if err != nil || n != 1 {
		t.Errorf("%d events would be sent again (%v), want the delivery", n, err)
	}
}
