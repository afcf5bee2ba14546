package repository_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/domain/lost"
	"outboxd/domain/registration"
	"outboxd/domain/replay"
	"outboxd/domain/setup"
	"outboxd/migrations"
	"outboxd/repository"
	"outboxd/repository/confirm"
	"outboxd/repository/deadletters"
	"outboxd/repository/heal"
	"outboxd/repository/postgres"
	"outboxd/repository/recall"
	example "outboxd/repository/registration"
	"outboxd/repository/schedules"
	"outboxd/repository/search"
	"outboxd/repository/subscriptions"
	"outboxd/repository/upkeep"
)

// The calls of each role succeed with only the grants of deploy/postgres.
func TestRolesMayDoTheirWork(t *testing.T) {
	t.Parallel()
	as := schematest.RoleDatabase(t)
	schematest.ExampleRoles(t, as)
	everyRoleWorks(t, as)
}

// The same calls succeed with row-level security and the policies of deploy/postgres/policies.sql. A producer may emit only events
// that its policy allows.
func TestRolesWorkAbovePolicies(t *testing.T) {
	t.Parallel()
	as := schematest.RoleDatabase(t)
	schematest.ExampleRoles(t, as)
	admin := schematest.Connect(t, as(""))
	for range 2 { // it may be run again
		schematest.RunDeployed(t, as(""), "policies.sql")
		schematest.RunDeployed(t, as(""), "example/policies.sql")
	}
	exec(t, admin, "CREATE ROLE orders LOGIN IN ROLE outboxd_producer")
	for _, table := range []string{"outbox_held", "outbox_sent", "outbox_dead", "inbox", "outbox_turns", "outbox_relays", "outbox_entries", "outbox_account", "outbox_journal"} {
		exec(t, admin, "ALTER TABLE outboxd."+table+" ENABLE ROW LEVEL SECURITY")
	}
	exec(t, admin, "ALTER TABLE outboxd_example.users ENABLE ROW LEVEL SECURITY")
	everyRoleWorks(t, as)

	// A service of another team, which sets nothing.
	orders, err := pgx.Connect(t.Context(), as("orders"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = orders.Close(context.WithoutCancel(t.Context())) }()
	emits := func(statement string) error { _, err := orders.Exec(t.Context(), statement); return err }
	if err := emits("SELECT outboxd.emit('paid', '{}', ordering_key => 'k')"); err != nil {
		t.Error(err)
	}
	exec(t, admin, "DROP POLICY outbox_producers ON outboxd.outbox; CREATE POLICY orders ON outboxd.outbox FOR INSERT TO orders WITH CHECK (event_type LIKE 'order:%')")
	if err := emits("SELECT outboxd.emit('order:paid', '{}', ordering_key => 'k')"); err != nil {
		t.Error(err)
	}
	if emits("SELECT outboxd.emit('paid', '{}')") == nil {
		t.Error("a producer emitted what its policy forbids")
	}
	exec(t, admin, "CREATE ROLE ledger LOGIN IN ROLE outboxd_consumer")
	exec(t, schematest.Connect(t, as("ledger")), "SELECT outboxd.confirm(gen_random_uuid())")
}

func everyRoleWorks(t *testing.T, as func(role string) string) {
	t.Helper()
	const schema = "outboxd_example"
	open := func(role string) *postgres.Database { return schematest.Connect(t, as(role)) }
	owner, relay, worker, api, operator := open("outboxd_owner"), open("outboxd_relay"), open("outboxd_worker"), open("outboxd_api"), open("outboxd_operator")
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}

	// api
	users := example.NewUsers(api, schema)
	user := &registration.User{Email: "ada@example.com", PasswordHash: "x"}
	must("register", users.Register(t.Context(), user, "key", map[string]string{"a": "b"}))
	_, err := users.FindUserByKey(t.Context(), "key")
	must("find by key", err)
	_, notifications, err := users.FindUser(t.Context(), user.ID)
	must("find", err)
	_, err = users.TrimKeys(t.Context(), time.Hour, 10)
	must("trim keys", err)

	// relay, with a refused and a dead event among them
	store := repository.NewOutbox(relay, repository.OutboxOptions{History: true})
	emitKeyed(t, operator, "a1", "a2")
	emit(t, owner, 2)
	for verdicts := []domain.Verdict{domain.Refused, domain.Dead}; len(verdicts) > 0; {
		if batch := claim(t, store, 1); len(batch.Events()) == 1 { // else one was held
			must("settle", batch.Commit(t.Context(), []domain.Outcome{{Verdict: verdicts[0], Err: errors.New("no")}}))
			verdicts = verdicts[1:]
		}
	}
	relayAll(t, store)
	unrecorded := repository.NewOutbox(relay, repository.OutboxOptions{})
	emit(t, owner, 1)
	relayAll(t, unrecorded)
	_, _, err = store.NextDue(t.Context(), false)
	must("next due", err)
	doHousekeeping(t, relay, store)

	// worker
	_, err = confirm.NewInbox(worker).Process(t.Context(), find(t, owner, registration.TypeSendNotification), func(ctx context.Context, effects domain.Effects) error {
		if _, _, err := example.NewNotifications(worker, schema).FindNotification(ctx, notifications[0].ID); err != nil {
			return err
		}
		return example.NewNotifications(worker, schema).MarkSent(ctx, effects, notifications[0].ID)
	})
	must("process", err)
	_, err = confirm.NewInbox(worker).Ask(t.Context(), domain.ID{9})
	must("ask", err)
	tasks := deadletters.NewFailedTasks(worker, false)
	bury := func(task domain.FailedTask) {
		t.Helper()
		if got, err := tasks.Bury(t.Context(), task, false); err != nil || got != domain.Buried {
			t.Fatalf("Bury: %v, %v", got, err)
		}
	}
	failed := failedTask(find(t, owner, "a1"), "a1")
	must("failed", tasks.Failed(t.Context(), failed))
	bury(failed)
	bury(failedTask(domain.ID{1}, "gone"))

	action := func() *domain.Action { return &domain.Action{Actor: "ada", Reason: "mended"} }
	// operator, and a worker that a receiver told 410
	nightly := setup.Schedule{Name: "nightly", Cron: "* * * * *", Event: domain.Event{Type: "report:build"}}.WithDefaults()
	_, err = schedules.New(operator).Apply(t.Context(), action(), []setup.Schedule{nightly})
	must("apply a schedule", err)
	exec(t, owner, "UPDATE outbox_schedules SET next_at = date_trunc('minute', now())")
	ticks, err := schedules.New(relay).Tick(t.Context())
	must("emit the event of a schedule", err)
	if ticks.Emitted != 1 {
		t.Errorf("ticks: %+v", ticks)
	}
	exec(t, owner, "UPDATE outbox_schedules SET next_at = date_trunc('minute', now()), cron = 'never'")
	if _, err = schedules.New(relay).Tick(t.Context()); err == nil || strings.Contains(err.Error(), "42501") {
		t.Errorf("note why a schedule fails: %v", err)
	}
	must("pause a schedule", schedules.New(operator).Pause(t.Context(), action(), "nightly"))
	must("resume a schedule", schedules.New(operator).Resume(t.Context(), action(), "nightly"))
	_, err = schedules.New(open("outboxd_monitor")).List(t.Context())
	must("list schedules", err)
	must("remove a schedule", schedules.New(operator).Remove(t.Context(), action(), "nightly"))
	subs := subscriptions.New(operator)
	_, err = subs.Apply(t.Context(), action(), []setup.Subscription{setup.Subscription{Name: "crm", Types: []string{"crm:*"}, URL: "http://crm"}.WithDefaults()})
	must("apply a subscription", err)
	must("pause a subscription", subscriptions.New(worker).Pause(t.Context(), action(), "crm"))
	must("resume a subscription", subs.Resume(t.Context(), action(), "crm"))
	_, err = subscriptions.New(open("outboxd_monitor")).List(t.Context())
	must("list subscriptions", err)
	letters := deadletters.New(operator)
	list, err := letters.List(t.Context(), domain.DeadFilter{}, domain.Cursor{}, 10)
	if err != nil || len(list) != 3 {
		t.Fatalf("%d dead letters, %v, want 3", len(list), err)
	}
	_, err = letters.Replay(t.Context(), action(), domain.DeadFilter{}, 1)
	must("replay", err)
	_, err = letters.Discard(t.Context(), action(), domain.DeadFilter{}, 1)
	must("discard", err)
	ended := action()
	must("replay all", (&replay.Replay{Letters: letters, Action: ended, Filter: domain.DeadFilter{Type: "none"}}).Run(t.Context(), func(replay.Progress) {}))
	if found, err := letters.Action(t.Context(), ended.ID); err != nil || found.Outcome != domain.OutcomeDone {
		t.Errorf("%+v, %v, want it to be done", found, err)
	}
	_, err = letters.Correct(t.Context(), action(), domain.Correction{Of: list[2].ID, Payload: []byte("{}"), Discard: true})
	must("emit a corrected copy", err)
	must("measure by type", upkeep.NewHousekeeping(relay, "").MeasureTypes(t.Context(), map[string]int64{"default": 1}))
	field := domain.PayloadField{Path: []string{"a"}, Any: true}
	for _, reader := range []*postgres.Database{open("outboxd_monitor"), operator} {
		_, err = search.NewFigures(reader).Snapshot(t.Context())
		must("look at types and queues", err)
		_, err = search.NewFigures(reader).History(t.Context(), "", "default", time.Hour, time.Minute)
		must("read the history of a queue", err)
		_, err = search.NewFigures(reader).Pauses(t.Context())
		must("look who paused a queue", err)
		_, err = search.NewLives(reader).Search(t.Context(), lives.Filter{Payload: field}, domain.ID{}, 10)
		must("search by a payload field", err)
		_, _, err = deadletters.New(reader).Groups(t.Context(), domain.DeadFilter{Payload: field}, 10)
		must("group by a payload field", err)
		_, err = deadletters.New(reader).Values(t.Context(), domain.DeadFilter{}, field.Path, 10)
		must("look for the values of a payload field", err)
	}
	_, err = heal.NewRedriver(operator).RedriveByHand(t.Context(), action(), heal.RedriveFilter{Since: time.Hour})
	must("redrive", err)
	mistaken := []domain.ID{find(t, owner, "test:1")}
	changes, err := recall.New(operator).Cancel(t.Context(), action(), mistaken)
	if err != nil || changes[0].Answer != domain.ChangeCancelled {
		t.Errorf("cancel: %v, %v", changes, err)
	}
	_, err = recall.New(operator).Reschedule(t.Context(), action(), []domain.ID{{1}}, time.Now())
	must("reschedule", err)
	_, err = recall.New(operator).Erase(t.Context(), action(), mistaken)
	must("erase", err)
	all := setup.Subscription{Name: "all", Types: []string{"*"}, URL: "http://all", Ordering: setup.OrderingKey}.WithDefaults()
	_, err = subs.CountReplay(t.Context(), &all, time.Now().Add(-time.Hour))
	must("count what a replay would send", err)
	_, err = subs.ApplyAndReplay(t.Context(), action(), []setup.Subscription{all}, time.Now().Add(-time.Hour))
	must("apply a subscription with a replay", err)
	must("replay to a subscription", subs.ContinueReplay(t.Context(), "all", nil))
	must("begin a replay to a subscription", subs.BeginReplay(t.Context(), action(), "all", time.Now().Add(-time.Hour)))
	_, err = subscriptions.New(relay).AbandonedReplays(t.Context(), 0)
	must("look for abandoned replays", err)
	must("go on with a replay to a subscription", subscriptions.New(relay).ContinueReplay(t.Context(), "all", nil))
	_, err = subscriptions.New(open("outboxd_monitor")).Replay(t.Context(), "all")
	must("look at a replay", err)
	_, _, err = subscriptions.New(open("outboxd_monitor")).Standings(t.Context())
	must("count what waits", err)
	_, err = search.NewLives(open("outboxd_monitor")).Find(t.Context(), find(t, owner, "test:2"))
	must("look at an event", err)
	must("emit", operator.SQL().QueryRowContext(t.Context(), "SELECT outboxd.emit('x', '{}', ordering_key => 'k', in_commit_order => true)").Err())
	setAside(t, owner, relay, operator)
}

// setAside has the relay set aside an event that the CHECKs of outbox would refuse, and the operator one in the
// history.
func setAside(t *testing.T, owner, relay, operator *postgres.Database) {
	t.Helper()
	exec(t, owner, unchecked)
	exec(t, owner, "INSERT INTO outbox (id, event_type, payload) VALUES ('00000000-0000-0000-0000-000000000000', 'test:odd', 'x')")
	store := repository.NewOutbox(relay, repository.OutboxOptions{History: true})
	for range 3 {
		deliverAll(t, claim(t, store, 100))
	}
	exec(t, operator, "SELECT set_config('outboxd.moving', 'on', true), outbox_set_aside(tableoid::regclass, ctid, 'a test') FROM outbox_sent WHERE event_type = 'test:2'")
	if n := count(t, owner, "SELECT count(DISTINCT event_type) FROM outbox_dead WHERE event_type = 'test:odd' OR error = 'a test'"); n != 2 {
		t.Errorf("%d events were set aside, want 2", n)
	}
}

// doHousekeeping makes the calls of the leader.
func doHousekeeping(t *testing.T, relay *postgres.Database, store *repository.Outbox) {
	t.Helper()
	house := upkeep.NewHousekeeping(relay, "")
	exec(t, relay, "CREATE TABLE outbox_sent_20200101 PARTITION OF outbox_sent FOR VALUES FROM ('2020-01-01Z') TO ('2020-01-02Z')")
	call := func(what string, work func() error) {
		t.Helper()
		if err := work(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	call("lead", func() error {
		return house.Lead(t.Context(), func(context.Context, domain.StillLeads) error { return nil })
	})
	call("make and drop partitions", func() error { return house.KeepPartitions(t.Context(), 24*time.Hour) })
	call("fold the account", func() error { _, err := house.FoldAccount(t.Context()); return err })
	call("trim the inbox", func() error { _, err := house.TrimInbox(t.Context(), time.Hour, 10); return err })
	call("advance keys", func() error { _, _, _, err := house.AdvanceKeys(t.Context(), "", 10, false); return err })
	call("confirm what was delivered", func() error { _, err := house.ConfirmDelivered(t.Context(), domain.ID{}, 10); return err })
	call("pass turns", func() error { return house.PassTurns(t.Context(), []domain.Event{{ID: domain.ID{1}}}) })
	call("measure", func() error { _, _, err := house.Measure(t.Context(), domain.RelayProcess{}, nil); return err })
	call("look at the upkeep", func() error { _, err := house.Upkeep(t.Context(), time.Hour); return err })
	call("bury", func() error {
		failures := deadletters.NewFailedTasks(relay, false)
		ids, err := failures.Unburied(t.Context(), []domain.ID{{1}})
		if err == nil && len(ids) == 0 {
			_, err = failures.Bury(t.Context(), failedTask(domain.ID{1}, "gone"), true)
		}
		return err
	})
	call("tell the events of this database", func() error {
		_, err := search.NewKnownEvents(relay, time.Hour).Among(t.Context(), []domain.ID{{1}})
		return err
	})
	acknowledged := confirm.NewAcknowledgedEvents(relay)
	call("look how far acknowledgements were read", func() error { _, err := acknowledged.Position(t.Context()); return err })
	call("confirm what was acknowledged", func() error {
		_, _, err := acknowledged.Acknowledge(t.Context(), []domain.Acknowledgement{{EventID: domain.ID{1}}}, "", "1-1")
		return err
	})
	call("look for what producers asked for", func() error { _, err := recall.New(relay).CarryOut(t.Context(), domain.ID{}, 10, true); return err })
	exec(t, relay, "SELECT count(*) FROM outbox_carry_out('{}', '{}'), outbox_asked_tasks('{}')")
	call("say what nobody confirms", func() error { return house.SayUnconfirmed(t.Context(), []string{"log"}, nil) })
	call("look for cancelled events", func() error { _, err := house.CancelledTasks(t.Context(), domain.ID{}, 10); return err })
	call("note removed tasks", func() error { return house.TasksRemoved(t.Context(), []domain.Event{{ID: domain.ID{1}}}) })
	call("look for void tasks", func() error { _, err := house.VoidTasks(t.Context(), domain.ID{}, 10); return err })
	call("note removed void tasks", func() error { return house.VoidTasksRemoved(t.Context(), []domain.Event{{ID: domain.ID{1}}}) })
	call("trim void tasks", func() error { _, err := house.TrimVoidTasks(t.Context(), 0, 10); return err })
	call("trim cancelled events", func() error { _, err := house.TrimCancelled(t.Context(), time.Hour, 10); return err })
	call("trim suppressed events", func() error { _, err := house.TrimSuppressed(t.Context(), time.Hour, 10); return err })
	call("trim relays", func() error { return house.TrimRelays(t.Context(), time.Hour) })
	call("thin samples", func() error { return house.ThinSamples(t.Context()) })
	presence, process := repository.NewPresence(relay, ""), domain.RelayProcess{ID: domain.ID{1}, Host: "h"}
	call("show", func() error { return presence.Show(t.Context(), process, true) })
	call("leave", func() error { return presence.Leave(t.Context(), process) })
	memory := heal.NewQueueMemory(relay)
	record, err := memory.Recall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	call("remember", func() error {
		return memory.Remember(t.Context(), record.Identity, lost.QueueIdentity{RunID: "r"}, "a test")
	})
	call("redrive", func() error {
		_, err := memory.Redrive(t.Context(), lost.Redrive{Window: time.Hour, Except: []string{registration.TypeSendNotification}, Why: "a test"})
		return err
	})
	if n := count(t, relay, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'outbox_sent'::regclass"); n != 9 {
		t.Errorf("%d partitions, want eight days and the default", n)
	}
	relayAll(t, store)
}

// Statements that would help an attacker who has a role's password are refused.
func TestRolesMayDoNothingElse(t *testing.T) {
	t.Parallel()
	as := schematest.RoleDatabase(t)
	schematest.ExampleRoles(t, as)
	owner := schematest.Connect(t, as("outboxd_owner"))
	exec(t, owner, "INSERT INTO outbox (event_type, payload) VALUES ('a:b', '')")
	admin := schematest.Connect(t, as(""))
	exec(t, admin, "CREATE ROLE orders LOGIN IN ROLE outboxd_producer")
	exec(t, admin, "CREATE ROLE ledger LOGIN IN ROLE outboxd_consumer")
	exec(t, admin, "CREATE ROLE stranger LOGIN")
	if err := upkeep.NewHousekeeping(schematest.Connect(t, as("outboxd_relay")), "").KeepPartitions(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	partition := "outboxd.outbox_sent_" + time.Now().UTC().AddDate(0, 0, 3).Format("20060102")
	const confirm, emit = "SELECT outboxd.confirm(gen_random_uuid())", "SELECT outboxd.emit('a:b', '{}', ordering_key => 'k')"
	for _, c := range []struct {
		role     string
		may, not []string
	}{
		{
			"orders",
			[]string{emit, "INSERT INTO outboxd.outbox (event_type, payload) VALUES ('a:b', '')", "SELECT outboxd.emit('a:b', '{}', ordering_key => 'k', in_commit_order => true)", "SELECT outboxd.cancel(gen_random_uuid()), outboxd.reschedule(gen_random_uuid(), now())"},
			[]string{
				"SELECT outboxd.outbox_cancel(gen_random_uuid(), 'somebody else', '')", "SELECT outboxd.outbox_standing(gen_random_uuid())",
				"SELECT id FROM outboxd.outbox", "DELETE FROM outboxd.outbox", "SELECT payload FROM outboxd.outbox_sent", confirm,
				"INSERT INTO outboxd.outbox (event_type, payload, created_at) VALUES ('a:b', '', '2000-01-01')",
				"INSERT INTO outboxd.outbox (event_type, payload, generation) VALUES ('a:b', '', 7)",
				"INSERT INTO outboxd.outbox (event_type, payload, ordering_key, ordering_position) VALUES ('a:b', '', 'k', -1)",
				"SELECT outboxd.outbox_pass_turn(gen_random_uuid())", "SELECT outboxd.outbox_let_go(gen_random_uuid())", "SELECT outboxd.outbox_advance('{k}')",
				"SELECT name FROM outboxd.outbox_subscriptions", "SELECT outboxd.outbox_next_of_key('k', NULL)", "INSERT INTO outboxd.outbox_entries VALUES ('a:b', now())", "CREATE TABLE outboxd.mine ()",
				"SELECT email FROM outboxd_example.users",
			},
		},
		{"ledger", []string{confirm}, []string{emit, "SELECT outboxd.cancel(gen_random_uuid())", "SELECT FROM outboxd.inbox", "DELETE FROM outboxd.inbox", "SELECT id FROM outboxd.outbox_sent"}},
		{"stranger", nil, []string{emit, confirm, "SELECT id FROM outboxd.outbox"}},
		{
			"outboxd_api",
			[]string{"SELECT password_hash FROM outboxd_example.users"},
			[]string{"SELECT payload FROM outbox", "DELETE FROM outbox", "SELECT FROM outbox_sent", "UPDATE outboxd_example.users SET password_hash = ''", "DELETE FROM outboxd_example.users", confirm},
		},
		{
			"outboxd_worker",
			[]string{"SELECT id, email FROM outboxd_example.users", "SELECT id FROM outbox_sent"},
			[]string{"SELECT password_hash FROM outboxd_example.users", "UPDATE outboxd_example.users SET email = ''", "INSERT INTO outbox (event_type, payload) VALUES ('a:b', '')", "DROP TABLE outbox_sent", "SELECT key FROM outboxd_example.idempotency_keys"},
		},
		{
			"outboxd_relay",
			[]string{"SELECT id FROM outbox_sent", "SELECT id FROM " + partition},
			[]string{"SELECT FROM outboxd_example.users", "SELECT FROM outboxd_example.notifications", "SELECT FROM outboxd_example.idempotency_keys", "INSERT INTO inbox VALUES (gen_random_uuid())", "DROP TABLE outbox", "ALTER TABLE outbox DISABLE TRIGGER ALL", confirm, "SET ROLE outboxd_owner"},
		},
		{
			"outboxd_monitor",
			[]string{"SELECT payload FROM outbox", "SELECT payload FROM outbox_sent", "SELECT payload FROM " + partition, "SELECT FROM outbox_journal"},
			[]string{"SELECT email FROM outboxd_example.users", "SELECT FROM outboxd_example.idempotency_keys", "DELETE FROM outbox_dead", "DELETE FROM outbox", emit, "INSERT INTO outbox_actions (actor, action, filter) VALUES ('a', 'replay', '{}')"},
		},
		{
			"outboxd_operator",
			[]string{"SELECT payload FROM outbox_dead", emit, "UPDATE outbox_actions SET events = 1, outcome = 'done', cause = ''"},
			[]string{
				"UPDATE outbox_actions SET actor = 'somebody else'", "UPDATE outbox_actions SET at = now()", "UPDATE outbox_actions SET reason = '', filter = '{}', action = 'replay'",
				"INSERT INTO outbox_actions (actor, action, filter, at) VALUES ('a', 'replay', '{}', '2000-01-01')",
				"SELECT email FROM outboxd_example.users", "DELETE FROM outbox", "DELETE FROM outbox_actions", "DELETE FROM outbox_journal", "DROP TABLE outbox_sent", confirm,
			},
		},
	} {
		t.Run(c.role, func(t *testing.T) {
			db := schematest.Connect(t, as(c.role))
			for _, statement := range c.may {
				exec(t, db, statement)
			}
			for _, statement := range c.not {
				_, err := db.SQL().ExecContext(t.Context(), statement)
				if pg, ok := errors.AsType[*pgconn.PgError](err); !ok || pg.Code != "42501" {
					t.Errorf("%s: %v, want it to be refused for want of a right", statement, err)
				}
			}
		})
	}
}

// The owner of the schema reverts and applies all migrations, although the relay has made partitions.
func TestOwnerMigratesWhatTheRelayOwns(t *testing.T) {
	t.Parallel()
	as := schematest.RoleDatabase(t)
	owner := schematest.Connect(t, as("outboxd_owner"))
	if err := upkeep.NewHousekeeping(schematest.Connect(t, as("outboxd_relay")), "").KeepPartitions(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	for down := true; down; {
		var err error
		if down, err = migrations.Core().Down(t.Context(), owner.SQL(), servertest.Logger(t)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := migrations.Core().Up(t.Context(), owner.SQL(), servertest.Logger(t)); err != nil {
		t.Fatal(err)
	}
}

// The files of deploy/postgres set up a second database of a cluster, and the first one again after it was migrated.
func TestRolesServeSeveralDatabases(t *testing.T) {
	t.Parallel()
	first := schematest.RoleDatabase(t)
	exec(t, schematest.Connect(t, first("")), "CREATE DATABASE second")
	address, err := url.Parse(first(""))
	if err != nil {
		t.Fatal(err)
	}
	address.Path = "/second"
	second := schematest.Roles(t, address.String())
	for name, as := range map[string]func(string) string{"first, again": schematest.Roles(t, first("")), "second": second} {
		exec(t, schematest.Connect(t, as("outboxd_operator")), "SELECT outboxd.emit('a:b', '{}')")
		store := repository.NewOutbox(schematest.Connect(t, as("outboxd_relay")), repository.OutboxOptions{History: true})
		if relayed := relayAll(t, store); relayed != "a:b" {
			t.Errorf("%s: relayed %q", name, relayed)
		}
	}
}

// Another team's service has a role that is a member of outboxd_consumer. Members do not get the search_path of their group.
func TestAConsumerConfirmsFromAnySearchPath(t *testing.T) {
	t.Parallel()
	as := schematest.RoleDatabase(t)
	exec(t, schematest.Connect(t, as("")), "CREATE ROLE ledger LOGIN IN ROLE outboxd_consumer")
	emitKeyed(t, schematest.Connect(t, as("outboxd_operator")), "a1", "a2")
	relayAll(t, repository.NewOutbox(schematest.Connect(t, as("outboxd_relay")), repository.OutboxOptions{History: true}))
	ledger := schematest.Connect(t, as("ledger"))
	id := find(t, schematest.Connect(t, as("outboxd_monitor")), "a1").String()
	for i, path := range []string{`"$user", public`, "pg_catalog", "''", "nowhere", "outboxd"} {
		tx, err := ledger.SQL().BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var first bool
		if _, err = tx.ExecContext(t.Context(), "SET LOCAL search_path = "+path); err == nil {
			err = tx.QueryRowContext(t.Context(), "SELECT outboxd.confirm($1)", id).Scan(&first)
		}
		if err == nil {
			err = tx.Commit() // passes the key's turn on
		}
		if err != nil || first != (i == 0) {
			t.Errorf("search_path %s: first %t, %v", path, first, err)
		}
	}
	eventually(t, schematest.Connect(t, as("outboxd_monitor")), 1, "SELECT count(*) FROM outbox WHERE event_type = 'a2'")
}

// A table that no role but its owner may use was forgotten in deploy/postgres/grants.sql.
func TestEveryTableIsGranted(t *testing.T) {
	t.Parallel()
	as := schematest.RoleDatabase(t)
	var forgotten string
	err := schematest.Connect(t, as("outboxd_owner")).SQL().QueryRowContext(t.Context(), `
		SELECT coalesce(string_agg(relname, ', '), '') FROM pg_class c
		WHERE relnamespace = 'outboxd'::regnamespace AND relkind IN ('r', 'p')
		  AND NOT EXISTS (SELECT FROM aclexplode(relacl) a WHERE a.grantee <> relowner)
		  AND NOT EXISTS (SELECT FROM pg_attribute t, aclexplode(t.attacl) a WHERE t.attrelid = c.oid AND a.grantee <> c.relowner)`).Scan(&forgotten)
	if err != nil || forgotten != "" {
		t.Errorf("no role may use %q, %v: say in deploy/postgres/grants.sql who needs it", forgotten, err)
	}
}

func failedTask(id domain.ID, name string) domain.FailedTask {
	return domain.FailedTask{Event: domain.Event{ID: id, Type: name, Payload: []byte{0, 0xff}, Queue: "low"}, Attempt: 4, Err: errors.New("no such mailbox")}
}
