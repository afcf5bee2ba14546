package subscriptions_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/domain/setup"
	"outboxd/repository"
	"outboxd/repository/deadletters"
	"outboxd/repository/postgres"
	"outboxd/repository/recall"
	rt "outboxd/repository/repositorytest"
	"outboxd/repository/search"
	"outboxd/repository/subscriptions"
	"outboxd/repository/upkeep"
)

// The type replayed is a database with subscriptions and a relay.
type replayed struct {
	t     *testing.T
	db    *postgres.Database
	relay *repository.Outbox
	store *subscriptions.Store
}

func newReplayed(t *testing.T) *replayed {
	t.Helper()
	db := schematest.Open(t)
	return &replayed{t, db, repository.NewOutbox(db, repository.OutboxOptions{History: true}), subscriptions.New(db)}
}

func wants(name string, types ...string) setup.Subscription {
	return setup.Subscription{Name: name, Types: types, URL: "http://receiver.example.com"}.WithDefaults()
}

// The method begin adds subscriptions, with a replay of the last hour.
func (r *replayed) begin(list ...setup.Subscription) {
	r.t.Helper()
	if _, err := r.store.ApplyAndReplay(r.t.Context(), person(), list, time.Now().Add(-time.Hour)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *replayed) finish(name string) setup.SubscriptionReplay {
	r.t.Helper()
	if err := r.store.ContinueReplay(r.t.Context(), name, nil); err != nil {
		r.t.Fatal(err)
	}
	done, err := r.store.Replay(r.t.Context(), name)
	if err != nil || !done.Ended() {
		r.t.Fatalf("%+v, %v", done, err)
	}
	return *done
}

// wantEndings checks how the replays ended according to the record, the first one first.
func (r *replayed) wantEndings(want ...string) {
	r.t.Helper()
	var got []string
	if err := r.db.Pool().QueryRow(r.t.Context(), `SELECT array_agg(concat_ws(': ', outcome, nullif(cause, '')) ORDER BY at, id)
		FROM outbox_actions WHERE action = 'replay'`).Scan(&got); err != nil || !slices.Equal(got, want) {
		r.t.Errorf("the replays ended %q, %v, want %q", got, err, want)
	}
}

// addsUp checks that the account adds up and that the Auditor finds no violation.
func (r *replayed) addsUp() {
	r.t.Helper()
	auditor := search.NewAuditor(r.db)
	lines, err := auditor.Account(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for i := range lines {
		if lines[i].Difference() != 0 {
			r.t.Errorf("the account does not add up: %+v", lines[i])
		}
	}
	if violations, err := auditor.Violations(r.t.Context(), lines, 10); err != nil || len(violations) > 0 {
		r.t.Errorf("violations: %v, %v", violations, err)
	}
}

// deliver relays and confirms all due events, and returns the types that went to a subscription, in the order in which they went.
func (r *replayed) deliver(name string) string {
	r.t.Helper()
	var went []string
	for {
		batch := rt.Claim(r.t, r.relay, 10)
		events := slices.Clone(batch.Events())
		if len(events) == 0 && !batch.Full() && !batch.Advanced() {
			return strings.Join(went, " ")
		}
		if len(events) > 0 {
			rt.Deliver(r.t, batch)
		}
		for _, e := range events {
			if e.Subscription == name {
				went = append(went, e.Type)
			}
			rt.Exec(r.t, r.db, "SELECT outboxd.confirm($1)", e.ID.String())
		}
	}
}

// Events are confirmed, in flight, dead, pending again, cancelled and held. The
// subscriptions do not want all of them.
func TestAReplaySendsWhatTheHistoryHas(t *testing.T) {
	t.Parallel()
	r := newReplayed(t)
	rt.Exec(t, r.db, `SELECT outboxd.emit('user:done', '{}'), outboxd.emit('user:flying', '{}'), outboxd.emit('user:dead', '{}'), outboxd.emit('user:back', '{}'), outboxd.emit('user:eu', '{}', headers => '{"region": "eu"}'),
		outboxd.emit('order', '{}'), outboxd.emit('user:cancelled', '{}'), outboxd.emit('user:old', '{}')`)
	rt.EmitKeyed(t, r.db, "user:k1", "user:k2")
	rt.RelayAll(t, r.relay)
	rt.Confirm(t, r.db, "user:done")
	if _, err := recall.New(r.db).Cancel(t.Context(), person(), []domain.ID{rt.Find(t, r.db, "user:cancelled")}); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"outbox_sent", "outbox_entries"} { // the day may have changed in these two hours
		rt.Exec(t, r.db, "UPDATE "+table+" SET created_at = created_at - interval '2 hours' WHERE event_type = 'user:old'")
	}
	rt.Exec(t, r.db, `WITH gone AS (DELETE FROM outbox_sent WHERE event_type = 'user:dead' RETURNING *)
		INSERT INTO outbox_dead (id, event_type, payload, headers, queue, attempts, generation, available_at, created_at, split, stage, error) SELECT id, event_type, payload, headers, queue, attempts, generation, available_at, created_at, 'done', 'worker', 'no' FROM gone`)
	rt.Exec(t, r.db, `BEGIN; SELECT set_config('outboxd.moving', 'on', true); WITH gone AS (DELETE FROM outbox_sent WHERE event_type = 'user:back' RETURNING *)
		INSERT INTO outbox (id, event_type, payload, created_at, split, available_at) SELECT id, event_type, payload, created_at, 'done', 'tomorrow' FROM gone; COMMIT`)
	crm, eu := wants("crm", "user:*"), wants("eu", "*")
	eu.Headers = map[string]string{"region": "eu"}
	if n, err := r.store.CountReplay(t.Context(), &crm, time.Now().Add(-time.Hour)); err != nil || n != 7 {
		t.Errorf("%d events match, %v, want 7", n, err)
	}
	r.begin(crm, eu)
	rt.Exec(t, r.db, "SELECT outboxd.emit('user:new', '{}')") // claimed while the subscription exists
	if done := r.finish("crm"); done.Matched != 7 || done.Made != 7 {
		t.Errorf("%+v", done)
	}
	if done := r.finish("eu"); done.Matched != 1 || done.Made != 1 {
		t.Errorf("%+v", done)
	}
	r.addsUp()
	went := strings.Fields(r.deliver("crm"))
	slices.Sort(went)
	if got, want := strings.Join(went, " "), "user:back user:dead user:done user:eu user:flying user:k1 user:k2 user:new"; got != want {
		t.Errorf("went %s, want %s", got, want)
	}
	if n := rt.Count(t, r.db, "SELECT sum(events) FROM outbox_actions WHERE action = 'replay' AND filter ->> 'subscription' = 'crm'"); n != 7 {
		t.Errorf("%d deliveries are on the record, want 7", n)
	}
	r.wantEndings("done", "done")
	// Replay once more: each event has its delivery already, wherever that is.
	if err := r.store.BeginReplay(t.Context(), person(), "crm", time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if done := r.finish("crm"); done.Matched != 8 || done.Made != 0 {
		t.Errorf("%+v", done)
	}
	r.addsUp()
}

// Later events of the same key are relayed during the replay, and the IDs are not in the order of the positions.
func TestAReplayKeepsTheOrderOfEachKey(t *testing.T) {
	t.Parallel()
	r := newReplayed(t)
	var want []string
	for i := range 4 {
		// Each event has a smaller ID than the one before it.
		rt.Exec(t, r.db, "INSERT INTO outbox (id, event_type, payload, ordering_key) VALUES ($1, $2, '', 'k')", fmt.Sprintf("019a0000-0000-7000-8000-00000000000%d", 9-i), fmt.Sprintf("old%d", i))
		want = append(want, fmt.Sprintf("old%d", i))
	}
	r.deliver("")
	crm := wants("crm", "*")
	crm.Ordering = setup.OrderingKey
	r.begin(crm)
	for i := range 3 {
		rt.Exec(t, r.db, "SELECT outboxd.emit($1, '{}', ordering_key => 'k')", fmt.Sprintf("new%d", i))
		want = append(want, fmt.Sprintf("new%d", i))
	}
	if got := r.deliver("crm"); got != "" {
		t.Errorf("%s went before the replay had ended", got)
	}
	if _, err := r.db.SQL().ExecContext(t.Context(), "SELECT outbox_advance(ARRAY['subscription:crm:k'])"); err != nil {
		t.Fatal(err)
	}
	r.wantHeldByReplay("subscription:crm:k")
	if got := r.deliver("crm"); got != "" {
		t.Errorf("%s went before the replay had ended", got)
	}
	if done := r.finish("crm"); done.Made != 4 {
		t.Errorf("%+v", done)
	}
	if got := r.deliver("crm"); got != strings.Join(want, " ") {
		t.Errorf("went %s, want %s", got, want)
	}
	r.addsUp()
}

// wantHeldByReplay checks that every view says that a replay to the subscription crm holds the ordering key.
func (r *replayed) wantHeldByReplay(key string) {
	r.t.Helper()
	list, _, err := search.NewHeldKeys(r.db).List(r.t.Context(), []string{key}, 10)
	if err != nil || len(list) != 1 {
		r.t.Fatalf("held keys: %+v, %v, want one", list, err)
	}
	if said := list[0].Holds(time.Now()); list[0].Turn != nil || !strings.Contains(said, "a replay to subscription crm") {
		r.t.Errorf("the key is held by %+v: %s", list[0].Turn, said)
	}
	reader := search.NewLives(r.db)
	life, err := reader.Find(r.t.Context(), list[0].Next)
	if err != nil || !strings.HasSuffix(life.Describe(nil, time.Now()), "the end of the replay to subscription crm") {
		r.t.Errorf("the life of the next delivery: %+v, %v", life, err)
	}
	page, err := reader.Search(r.t.Context(), lives.Filter{OrderingKey: key, State: lives.StateHeld}, domain.ID{}, 10)
	if err != nil || len(page.Events) == 0 || slices.ContainsFunc(page.Events, func(e lives.Summary) bool { return !e.Replaying }) {
		r.t.Errorf("a search for the held deliveries: %+v, %v", page, err)
	}
}

// A claim that began before the subscription was added has an event. The replay waits for that
// claim.
func TestAReplayLeavesAClaimThatIsOpenNoGap(t *testing.T) {
	t.Parallel()
	r := newReplayed(t)
	rt.Emit(t, r.db, 1)
	open := rt.Claim(t, r.relay, 10)
	r.begin(wants("crm", "*"))
	done := make(chan error, 1)
	go func() { done <- r.store.ContinueReplay(context.WithoutCancel(t.Context()), "crm", nil) }()
	select {
	case err := <-done:
		t.Errorf("the replay ended while the claim was open: %v", err)
	case <-time.After(200 * time.Millisecond): // a replay that does not wait is over long before
	}
	rt.Deliver(t, open)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := r.deliver("crm"); got != "test:1" {
		t.Errorf("went %q, want test:1", got)
	}
}

// A replay is stopped after its first piece. Meanwhile one of its deliveries dies and is discarded.
func TestAReplayGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	r := newReplayed(t)
	const events = subscriptions.ReplayRows + 10
	rt.Exec(t, r.db, "INSERT INTO outbox (event_type, payload) SELECT 'many', '' FROM generate_series(1, $1)", events)
	for r.claimAndDeliver() {
	}
	r.begin(wants("crm", "many"))
	ctx, cancel := context.WithCancel(t.Context())
	if err := r.store.ContinueReplay(ctx, "crm", func(setup.SubscriptionReplay) { cancel() }); err == nil {
		t.Error("the replay ended in its first piece")
	}
	names, err := r.store.AbandonedReplays(t.Context(), 0)
	if err != nil || !slices.Equal(names, []string{"crm"}) {
		t.Errorf("abandoned: %q, %v", names, err)
	}
	first, err := r.store.Replay(t.Context(), "crm")
	if err != nil || first.Ended() || first.Made != subscriptions.ReplayRows {
		t.Fatalf("%+v, %v", first, err)
	}
	// One delivery of the first piece is discarded.
	batch := rt.Claim(t, r.relay, 1)
	if err := batch.Commit(t.Context(), []domain.Outcome{{Verdict: domain.Dead, Err: context.Canceled}}); err != nil {
		t.Fatal(err)
	}
	if n, err := deadletters.New(r.db).Discard(t.Context(), person(), domain.DeadFilter{}, 10); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	if done := r.finish("crm"); done.Made != events || done.Matched != events {
		t.Errorf("%+v", done)
	}
	// Replay from the beginning.
	if err := r.store.BeginReplay(t.Context(), person(), "crm", time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if done := r.finish("crm"); done.Made != 0 || done.Matched != events {
		t.Errorf("once more: %+v", done)
	}
	r.addsUp()
}

// An event that took effect is erased, and so is a dead delivery of another event.
func TestAReplaySendsNothingThatWasErased(t *testing.T) {
	t.Parallel()
	r := newReplayed(t)
	rt.Exec(t, r.db, "SELECT outboxd.emit('user:erased', '{}'), outboxd.emit('user:dead', '{}')")
	rt.RelayAll(t, r.relay)
	rt.Confirm(t, r.db, "user:erased")
	r.erase(rt.Find(t, r.db, "user:erased"))
	// The journal is trimmed before the history is.
	rt.Exec(t, r.db, "UPDATE outbox_journal SET at = at - interval '10 days'")
	if _, err := upkeep.NewHousekeeping(r.db, "").TrimInbox(t.Context(), 24*time.Hour, 10); err != nil {
		t.Fatal(err)
	}
	crm := wants("crm", "user:*")
	if n, err := r.store.CountReplay(t.Context(), &crm, time.Now().Add(-time.Hour)); err != nil || n != 1 {
		t.Errorf("%d events match, %v, want 1", n, err)
	}
	r.begin(crm)
	if done := r.finish("crm"); done.Matched != 1 || done.Made != 1 {
		t.Errorf("%+v, want the delivery of the event that was not erased", done)
	}
	batch := rt.Claim(t, r.relay, 1)
	delivery := batch.Events()[0].ID
	if err := batch.Commit(t.Context(), []domain.Outcome{{Verdict: domain.Dead, Err: context.Canceled}}); err != nil {
		t.Fatal(err)
	}
	r.erase(delivery)
	if err := r.store.BeginReplay(t.Context(), person(), "crm", time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if done := r.finish("crm"); done.Made != 0 {
		t.Errorf("%+v, want no delivery in place of the erased one", done)
	}
	r.addsUp()
}

// An event is cancelled or erased while a piece is open that has made its delivery. Then
// a replay goes on while another event is being cancelled or erased.
func TestTakingBackWaitsForAReplay(t *testing.T) {
	t.Parallel()
	for function, want := range map[string]string{"outbox_cancel": "cancelled", "outbox_erase": "erased"} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			r := newReplayed(t)
			rt.Exec(t, r.db, "SELECT outboxd.emit('user:one', '{}'), outboxd.emit('user:two', '{}')")
			rt.RelayAll(t, r.relay)
			one, two := rt.Find(t, r.db, "user:one"), rt.Find(t, r.db, "user:two")
			r.begin(wants("crm", "user:*"))

			end := r.while("LOCK TABLE outbox_actions IN SHARE MODE") // a piece writes there last
			if got := r.takeBack(function, one); got != "busy" {
				t.Errorf("%s while the piece is open: %s, want busy", function, got)
			}
			end()
			if got := r.takeBack(function, one); got != "queued" {
				t.Errorf("%s after the piece: %s, want queued", function, got)
			}

			rt.Exec(t, r.db, "BEGIN; SELECT set_config('outboxd.moving', 'on', true); DELETE FROM outbox; COMMIT")
			if err := r.store.BeginReplay(t.Context(), person(), "crm", time.Now().Add(-time.Hour)); err != nil {
				t.Fatal(err)
			}
			rt.Exec(t, r.db, "UPDATE outbox_replays SET done_until = '00000000-0000-0000-0000-000000000001'") // past its first piece
			r.while("SELECT "+function+"($1, 'ada@here', '')", [16]byte(two))()
			if n := rt.Count(t, r.db, "SELECT count(*) FROM outbox"); n != 1 {
				t.Errorf("%d deliveries, want that of the event that was not taken back", n)
			}
		})
	}
}

// An event is moved while a piece is open that has made its delivery. Then a replay goes on
// while another event is being moved.
func TestReschedulingWaitsForAReplay(t *testing.T) {
	t.Parallel()
	r := newReplayed(t)
	rt.Exec(t, r.db, "SELECT outboxd.emit('user:one', '{}'), outboxd.emit('user:two', '{}')")
	rt.RelayAll(t, r.relay)
	one, two := rt.Find(t, r.db, "user:one"), rt.Find(t, r.db, "user:two")
	r.begin(wants("crm", "user:*"))
	const move = "outbox_reschedule($1, now() + interval '1 day', 'ada@here', '')"
	reschedule := func(id domain.ID) (answer string) {
		if err := r.db.Pool().QueryRow(t.Context(), "SELECT "+move, [16]byte(id)).Scan(&answer); err != nil {
			t.Fatal(err)
		}
		return answer
	}

	end := r.while("LOCK TABLE outbox_actions IN SHARE MODE") // a piece writes there last
	if got := reschedule(one); got != "busy" {
		t.Errorf("while the piece is open: %s, want busy", got)
	}
	end()
	if got := reschedule(one); got != "queued" {
		t.Errorf("after the piece: %s, want queued", got)
	}

	rt.Exec(t, r.db, "BEGIN; SELECT set_config('outboxd.moving', 'on', true); DELETE FROM outbox; COMMIT")
	if err := r.store.BeginReplay(t.Context(), person(), "crm", time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	rt.Exec(t, r.db, "UPDATE outbox_replays SET done_until = '00000000-0000-0000-0000-000000000001'") // past its first piece
	r.while("SELECT "+move, [16]byte(two))()
	if n := rt.Count(t, r.db, "SELECT count(*) FROM outbox WHERE subscription IS NOT NULL AND (origin_id = $1) = (available_at > now() + interval '23 hours')", [16]byte(two)); n != 2 {
		t.Errorf("%d of 2 deliveries have the time of their event", n)
	}
}

// The method while executes a statement in a transaction, and continues the replay until the replay
// waits for that transaction. end commits the transaction and waits for the end of the replay.
func (r *replayed) while(statement string, args ...any) (end func()) {
	r.t.Helper()
	ctx := context.WithoutCancel(r.t.Context())
	tx, err := r.db.Pool().Begin(ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = tx.Rollback(ctx) })
	if _, err := tx.Exec(ctx, statement, args...); err != nil {
		r.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- r.store.ContinueReplay(ctx, "crm", nil) }()
	rt.AwaitWaiting(r.t, r.db)
	return func() {
		r.t.Helper()
		if err := tx.Commit(ctx); err != nil {
			r.t.Fatal(err)
		}
		if err := <-done; err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *replayed) erase(id domain.ID) {
	r.t.Helper()
	if got := r.takeBack("outbox_erase", id); got != "erased" {
		r.t.Fatalf("erase: %s", got)
	}
}

// takeBack calls outbox_cancel or outbox_erase for an event, and returns the answer.
func (r *replayed) takeBack(function string, id domain.ID) (answer string) {
	r.t.Helper()
	if err := r.db.Pool().QueryRow(r.t.Context(), "SELECT "+function+"($1, 'ada@here', '')", [16]byte(id)).Scan(&answer); err != nil {
		r.t.Fatal(err)
	}
	return answer
}

// claimAndDeliver claims and delivers up to 5,000 events, and returns false if none is due.
func (r *replayed) claimAndDeliver() bool {
	batch := rt.Claim(r.t, r.relay, 5000)
	if len(batch.Events()) == 0 {
		return false
	}
	rt.Deliver(r.t, batch)
	return true
}

// The events are large, and the outbox refuses the deliveries of some of them.
func TestAReplayIsStoppedByNoEvent(t *testing.T) {
	t.Parallel()
	r := newReplayed(t)
	rt.Exec(t, r.db, "INSERT INTO outbox (event_type, payload) SELECT 'large', repeat('x', 1000000)::bytea FROM generate_series(1, 20)")
	for r.claimAndDeliver() {
	}
	rt.Exec(t, r.db, "UPDATE outbox_sent SET headers = '[]' WHERE id IN (SELECT id FROM outbox_sent LIMIT 2)")
	r.begin(wants("crm", "large"))
	if done := r.finish("crm"); done.Made != 18 || done.Refused != 2 {
		t.Errorf("%+v, want 18 made and 2 refused", done)
	}
	r.addsUp()
}

// The record has an end for each replay, also for one that another replay makes needless.
func TestReplaysThatMeetEndOnTheRecord(t *testing.T) {
	t.Parallel()
	r := newReplayed(t)
	r.begin(wants("crm", "*"))
	for _, back := range []time.Duration{time.Minute, 10 * time.Hour} {
		if err := r.store.BeginReplay(t.Context(), person(), "crm", time.Now().Add(-back)); err != nil {
			t.Fatal(err)
		}
	}
	r.wantEndings("stopped: another replay took its place", "stopped: a replay that goes back as far is under way", "")
	r.finish("crm")
	r.wantEndings("stopped: another replay took its place", "stopped: a replay that goes back as far is under way", "done")
}

// A subscription is removed in the middle of its replay, and applied again.
func TestARemovedSubscriptionHasNoReplay(t *testing.T) {
	t.Parallel()
	r := newReplayed(t)
	rt.Emit(t, r.db, 3)
	rt.RelayAll(t, r.relay)
	crm := wants("crm", "*")
	crm.Ordering = setup.OrderingKey
	r.begin(crm)
	if err := r.store.Remove(t.Context(), person(), "crm"); err != nil {
		t.Fatal(err)
	}
	if err := r.store.BeginReplay(t.Context(), person(), "crm", time.Now()); domain.ErrorCode(err) != domain.CodeNotFound {
		t.Errorf("a replay to a removed subscription: %v", err)
	}
	r.wantEndings("stopped: the subscription was removed")
	if _, err := r.store.Apply(t.Context(), person(), []setup.Subscription{crm}); err != nil {
		t.Fatal(err)
	}
	if err := r.store.ContinueReplay(t.Context(), "crm", nil); err != nil {
		t.Fatal(err)
	}
	rt.EmitKeyed(t, r.db, "k1")
	if got := r.deliver("crm"); got != "k1" {
		t.Errorf("went %q, want k1", got)
	}
}
