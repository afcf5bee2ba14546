package deadletters_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/repository"
	"outboxd/repository/deadletters"
	"outboxd/repository/heal"
	"outboxd/repository/repositorytest"
	"outboxd/repository/search"
	"outboxd/repository/upkeep"
)

func failedTask(id domain.ID, name string) domain.FailedTask {
	limit := 3
	return domain.FailedTask{
		Event: domain.Event{
			ID: id, Type: name, Payload: []byte{0, 0xff}, Headers: map[string]string{"k": "v"}, Queue: "low",
			Options: domain.TaskOptions{MaxRetry: &limit},
		},
		Attempt: 4, Err: errors.New("no such mailbox"),
	}
}

func bury(t *testing.T, tasks *deadletters.FailedTasks, task domain.FailedTask, want domain.Burial) {
	t.Helper()
	if got, err := tasks.Bury(t.Context(), task, false); err != nil || got != want {
		t.Fatalf("Bury: %v, %v, want %v", got, err, want)
	}
}

// buryAtLast repeats Bury while another transaction has the event.
func buryAtLast(t *testing.T, tasks *deadletters.FailedTasks, task domain.FailedTask) domain.Burial {
	t.Helper()
	for {
		burial, err := tasks.Bury(t.Context(), task, false)
		if err != nil {
			t.Error(err)
		}
		if err != nil || burial != domain.BusyElsewhere {
			return burial
		}
	}
}

func TestBuryMovesASentEvent(t *testing.T) {
	t.Parallel()
	for _, holds := range []bool{true, false} {
		db := schematest.Open(t)
		tasks := deadletters.NewFailedTasks(db, holds)
		store := repository.NewOutbox(db, repository.OutboxOptions{History: true})
		emitKeyed(t, db, "a1", "a2")
		relayAll(t, store)
		task := failedTask(find(t, db, "a1"), "a1")
		task.Err = errors.New("try again")
		if err := tasks.Failed(t.Context(), task); err != nil {
			t.Fatal(err)
		}
		task.Err = errors.New("no such mailbox")
		bury(t, tasks, task, domain.Buried)
		bury(t, tasks, task, domain.BuriedBefore)
		list, err := deadletters.New(db).List(t.Context(), domain.DeadFilter{}, domain.Cursor{}, 10)
		if err != nil || len(list) != 1 {
			t.Fatalf("%d dead letters, %v", len(list), err)
		}
		d := list[0]
		if d.ID != task.ID || d.Stage != domain.StageWorker || d.Attempts != 4 || d.Error != "no such mailbox" || d.FirstError != "try again" ||
			string(d.Payload) != "{}" || d.Queue != "default" || d.HoldsKey != holds {
			t.Errorf("the dead letter is %+v", d)
		}
		want := "a2"
		if holds {
			want = ""
		}
		if got := relayAll(t, store); got != want {
			t.Errorf("holds %t: behind the dead letter %q went, want %q", holds, got, want)
		}
		if n, err := heal.NewRedriver(db).Redrive(t.Context(), time.Hour, "a2"); err != nil || n != 0 {
			t.Errorf("healing put %d dead letters back, %v", n, err)
		}
		balance(t, db)
	}
}

// A worker may give a task up before the relay's claim that sent it has
// committed or rolled back.
func TestBuryWaitsForTheRelay(t *testing.T) {
	t.Parallel()
	for _, history := range []bool{true, false} {
		for _, commits := range []bool{true, false} {
			db := schematest.Open(t)
			store := repository.NewOutbox(db, repository.OutboxOptions{History: history})
			emit(t, db, 1)
			id := find(t, db, "test:1")
			batch := claim(t, store, 1)
			buried := make(chan domain.Burial, 1)
			go func() {
				buried <- buryAtLast(t, deadletters.NewFailedTasks(db, true), failedTask(id, "test:1"))
			}()
			awaitWaiting(t, db)
			if commits {
				deliver(t, batch)
			} else if err := batch.Release(); err != nil {
				t.Fatal(err)
			}
			if got := <-buried; got != domain.Buried {
				t.Errorf("history %t, commits %t: %v, want buried", history, commits, got)
			}
			for query, want := range map[string]int{"SELECT count(*) FROM outbox_dead": 1, "SELECT count(*) FROM outbox": 0, "SELECT count(*) FROM outbox_sent": 0} {
				if n := count(t, db, query); n != want {
					t.Errorf("history %t, commits %t: %s: %d, want %d", history, commits, query, n, want)
				}
			}
			balance(t, db)
		}
	}
}

// Asynq reads a payload without a byte as nil.
func TestATaskWithoutAPayloadIsWrittenDown(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	task := failedTask(domain.ID{1}, "test:1")
	task.Payload = nil
	bury(t, deadletters.NewFailedTasks(db, true), task, domain.Buried)
	if n := count(t, db, "SELECT count(*) FROM outbox_dead WHERE payload = ''"); n != 1 {
		t.Errorf("%d dead letters, want 1", n)
	}
}

// A dead letter says who gave the event up, also if it is made from the task.
func TestAPersonGivesUpATaskWithoutARecord(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	task := failedTask(domain.ID{6: 0x70, 8: 0x80}, "test:1")
	task.By = &domain.Action{Actor: "ada"}
	bury(t, deadletters.NewFailedTasks(db, true), task, domain.Buried)
	list, err := deadletters.New(db).List(t.Context(), domain.DeadFilter{}, domain.Cursor{}, 10)
	if err != nil || len(list) != 1 || list[0].Stage != domain.StagePerson {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestBuryWithoutARecordWritesTheTaskDown(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	tasks := deadletters.NewFailedTasks(db, true)
	store := repository.NewOutbox(db, repository.OutboxOptions{}) // no history
	exec(t, db, "SELECT outboxd.emit('test:1', '{}', ordering_key => 'k')")
	id := find(t, db, "test:1")
	deliver(t, claimEvents(t, store))
	if burial, err := tasks.Bury(t.Context(), failedTask(id, "test:1"), true); err != nil || burial != domain.NotOnRecord {
		t.Fatalf("%v, %v, want not on record", burial, err)
	}
	bury(t, tasks, failedTask(id, "test:1"), domain.Buried)
	bury(t, tasks, failedTask(id, "test:1"), domain.BuriedBefore)
	list, err := deadletters.New(db).List(t.Context(), domain.DeadFilter{}, domain.Cursor{}, 10)
	if err != nil || len(list) != 1 {
		t.Fatalf("%d dead letters, %v", len(list), err)
	}
	if d := list[0]; d.Stage != domain.StageWorker || string(d.Payload) != "\x00\xff" || d.Headers["k"] != "v" || d.Queue != "low" || *d.Options.MaxRetry != 3 || d.OrderingKey != "k" || !d.HoldsKey {
		t.Errorf("the dead letter is %+v", d)
	}
	balance(t, db)
	replayed, err := deadletters.New(db).Replay(t.Context(), &domain.Action{Actor: "ada"}, domain.DeadFilter{}, 1)
	if err != nil || len(replayed) != 1 {
		t.Fatalf("%+v, %v", replayed, err)
	}
	if got := relayAll(t, store); got != "test:1" {
		t.Errorf("the replay went as %q", got)
	}
	balance(t, db)
}

func TestBuryLeavesTheLivingAlone(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	tasks := deadletters.NewFailedTasks(db, true)
	store := repository.NewOutbox(db, repository.OutboxOptions{History: true})
	emit(t, db, 2)
	relayAll(t, store)
	confirmed, replayed := find(t, db, "test:1"), failedTask(find(t, db, "test:2"), "test:2")
	confirm(t, db, "test:1")
	bury(t, tasks, failedTask(confirmed, "test:1"), domain.ConfirmedOnce)
	bury(t, tasks, replayed, domain.Buried)
	if _, err := deadletters.New(db).Replay(t.Context(), &domain.Action{Actor: "ada"}, domain.DeadFilter{}, 1); err != nil {
		t.Fatal(err)
	}
	bury(t, tasks, replayed, domain.Superseded) // pending under its new generation
	relayAll(t, store)
	bury(t, tasks, replayed, domain.Superseded) // and sent
	if open, err := tasks.Unburied(t.Context(), []domain.ID{confirmed, replayed.ID, {1}}); err != nil || len(open) != 1 || open[0] != replayed.ID {
		t.Errorf("unburied: %v, %v, want the replayed event", open, err)
	}
	balance(t, db)
}

// The handler of a task that timed out may be about to commit.
func TestBuryWaitsForAConfirmation(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	emit(t, db, 1)
	relayAll(t, store)
	id := find(t, db, "test:1")
	tx, err := db.SQL().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(t.Context(), "SELECT outboxd.confirm($1)", id); err != nil {
		t.Fatal(err)
	}
	buried := make(chan domain.Burial, 1)
	go func() {
		buried <- buryAtLast(t, deadletters.NewFailedTasks(db, true), failedTask(id, "test:1"))
	}()
	awaitWaiting(t, db)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := <-buried; got != domain.ConfirmedOnce {
		t.Errorf("%v, want confirmed", got)
	}
}

// A transaction that confirms or changes the event may stay open for hours.
func TestBuryComesBackFromAnOpenTransaction(t *testing.T) {
	t.Parallel()
	for _, statement := range []string{"SELECT outboxd.confirm($1)", "SELECT outboxd.cancel($1)", "SELECT outboxd.reschedule($1, now() + interval '1 day')", "UPDATE outboxd.outbox_sent SET attempts = 1 WHERE id = $1"} {
		db, store := repositorytest.Outbox(t)
		emit(t, db, 1)
		relayAll(t, store)
		id := find(t, db, "test:1")
		tx, err := db.SQL().BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(t.Context(), statement, id); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		tasks := deadletters.NewFailedTasks(db, true)
		for _, onRecord := range []bool{true, false} {
			if got, err := tasks.Bury(ctx, failedTask(id, "test:1"), onRecord); err != nil || got != domain.BusyElsewhere {
				t.Errorf("%s: %v, %v, want busy", statement, got, err)
			}
		}
		cancel()
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		bury(t, tasks, failedTask(id, "test:1"), domain.Buried)
		balance(t, db)
	}
}

func TestTheLifeOfAnEvent(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	reader := search.NewLives(db)
	store := repository.NewOutbox(db, repository.OutboxOptions{History: true, DeadHoldsKey: true})
	if _, err := reader.Find(t.Context(), domain.ID{1}); domain.ErrorCode(err) != domain.CodeNotFound {
		t.Errorf("of no event: %v, want not found", err)
	}
	emitKeyed(t, db, "a1", "a2")
	first, second := find(t, db, "a1"), find(t, db, "a2")
	want := func(id domain.ID, state lives.State, entries ...string) *lives.Life {
		t.Helper()
		life, err := reader.Find(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range life.Journal {
			got = append(got, e.Entry)
		}
		if life.State != state || len(got) != len(entries) {
			t.Fatalf("%s with the journal %v, want %s with %v", life.State, got, state, entries)
		}
		for i := range got {
			if got[i] != entries[i] {
				t.Errorf("the journal is %v, want %v", got, entries)
			}
		}
		return life
	}
	want(first, lives.StatePending)
	if err := claimEvents(t, store).Commit(t.Context(), []domain.Outcome{{Verdict: domain.Refused, Err: errors.New("busy")}}); err != nil {
		t.Fatal(err)
	}
	die(t, store, "no")
	if life := want(first, lives.StateDead, "refused", "died"); life.TurnOf != first || life.HeldBehind != 1 || life.Error != "no" || life.Journal[1].Attempt != 2 {
		t.Errorf("dead: %+v", life)
	}
	if life := want(second, lives.StateHeld); life.TurnOf != first || life.HeldAt.IsZero() {
		t.Errorf("held: %+v", life)
	}
	letters, action := deadletters.New(db), domain.Action{Actor: "ada"}
	if _, err := letters.Replay(t.Context(), &action, domain.DeadFilter{}, 1); err != nil {
		t.Fatal(err)
	}
	relayAll(t, store)
	if n, err := heal.NewRedriver(db).RedriveByHand(t.Context(), &domain.Action{Actor: "ada"}, heal.RedriveFilter{Since: time.Hour, Type: "a2"}); err != nil || n != 0 {
		t.Errorf("redrive of another type: %d, %v", n, err)
	}
	if n, _, err := heal.NewRedriver(db).CountRedrive(t.Context(), heal.RedriveFilter{Since: time.Hour, Type: "a1"}); err != nil || n != 1 {
		t.Errorf("to be redriven: %d, %v, want 1", n, err)
	}
	if n, err := heal.NewRedriver(db).RedriveByHand(t.Context(), &domain.Action{Actor: "ada", Reason: "why"}, heal.RedriveFilter{Since: time.Hour}); err != nil || n != 1 {
		t.Errorf("redrive: %d, %v, want 1", n, err)
	}
	relayAll(t, store)
	confirm(t, db, "a1")
	if life := want(first, lives.StateConfirmed, "refused", "died", "replayed", "redriven"); life.ConfirmedAt.IsZero() || life.SentAt.IsZero() ||
		life.Generation != 1 || life.Journal[3].Detail != "by ada: why" || life.Journal[3].Stage != domain.StagePerson {
		t.Errorf("confirmed: %+v", life)
	}
	if n := count(t, db, "SELECT sum(events) FROM outbox_actions WHERE action = 'redrive'"); n != 1 {
		t.Errorf("%d events are recorded as redriven, want 1", n)
	}
	balance(t, db)
}

func TestTheJournalIsTrimmed(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	emit(t, db, 1)
	die(t, store, "no")
	exec(t, db, "INSERT INTO outbox_journal (event_id, stage, entry, generation) SELECT gen_random_uuid(), 'worker', 'failed', 0 FROM generate_series(1, 5)")
	exec(t, db, "UPDATE outbox_journal SET at = now() - interval '2 hours'")
	exec(t, db, "INSERT INTO outbox_journal (event_id, stage, entry, generation) VALUES (gen_random_uuid(), 'worker', 'failed', 0)")
	for _, want := range []int64{3, 2, 0} {
		if n, err := upkeep.NewHousekeeping(db, "").TrimInbox(t.Context(), time.Hour, 3); err != nil || n != want {
			t.Errorf("trimmed %d, %v, want %d", n, err, want)
		}
	}
	if n := count(t, db, "SELECT count(*) FROM outbox_journal"); n != 2 {
		t.Errorf("%d entries are left, want the new one and the dead letter's", n)
	}
}

// An event that does not have its turn, or was moved to a later time, stays. Neither
// an exhausted task nor one that Asynq gave up makes it a dead letter.
func TestBuryLeavesWhatMayNotTakeEffectYet(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	tasks := deadletters.NewFailedTasks(db, true)
	store := repository.NewOutbox(db, repository.OutboxOptions{History: true})
	emitKeyed(t, db, "a1", "a2")
	emit(t, db, 1)
	relayAll(t, store)
	held, moved := find(t, db, "a2"), find(t, db, "test:1")
	exec(t, db, "SELECT outboxd.reschedule($1, now() + interval '1 day')", moved)
	for _, onRecord := range []bool{false, true} {
		for id, name := range map[domain.ID]string{held: "a2", moved: "test:1"} {
			if got, err := tasks.Bury(t.Context(), failedTask(id, name), onRecord); err != nil || got != domain.BuriedEarly {
				t.Errorf("Bury of %s: %v, %v, want that it stays", name, got, err)
			}
		}
	}
	if n := count(t, db, "SELECT count(*) FROM outbox_dead"); n != 0 {
		t.Errorf("there are %d dead letters", n)
	}
	balance(t, db)
}

// Other programs may have events in the same Redis.
func TestTheRetryOfAForeignEventIsNotJournalled(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	exec(t, db, "SELECT outboxd.emit('test:1', '{}')")
	foreign, err := domain.EventID("01980000-0000-7000-8000-000000000000")
	if err != nil {
		t.Fatal(err)
	}
	ours := find(t, db, "test:1")
	if err := deadletters.NewFailedTasks(db, true).Retried(t.Context(), []domain.Event{{ID: foreign}, {ID: ours}}, &domain.Action{Actor: "ada@here"}); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[domain.ID]int{foreign: 0, ours: 1} {
		if n := count(t, db, "SELECT count(*) FROM outbox_journal WHERE event_id = $1", [16]byte(id)); n != want {
			t.Errorf("event %s has %d entries, want %d", id, n, want)
		}
	}
}

// A dead letter of an event that a person gave up says so, also if the leader made it of the same task a moment earlier.
func TestAPersonGivesUp(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	tasks := deadletters.NewFailedTasks(db, true)
	store := repository.NewOutbox(db, repository.OutboxOptions{History: true})
	exec(t, db, "SELECT outboxd.emit('test:1', '{}'), outboxd.emit('test:2', '{}')")
	relayAll(t, store)
	by := &domain.Action{Actor: "ada@here", Reason: "nobody wants it"}
	for _, name := range []string{"test:1", "test:2"} {
		task := failedTask(find(t, db, name), name)
		if err := tasks.Retried(t.Context(), []domain.Event{task.Event}, by); err != nil {
			t.Fatal(err)
		}
		want := domain.Buried
		if name == "test:2" {
			bury(t, tasks, task, domain.Buried) // by the leader
			want = domain.BuriedBefore
		}
		task.By = by
		bury(t, tasks, task, want)
		bury(t, tasks, task, domain.BuriedBefore) // nothing comes twice
		life, err := search.NewLives(db).Find(t.Context(), task.ID)
		if err != nil {
			t.Fatal(err)
		}
		if said := life.Describe(nil, time.Now()); life.Stage != domain.StagePerson || said != "dead, given up by ada@here: nobody wants it; outboxd dead replay sends it again" {
			t.Errorf("%s: stage %s, it says %q", name, life.Stage, said)
		}
		if n := count(t, db, "SELECT count(*) FROM outbox_journal WHERE event_id = $1 AND (stage, detail) = ('person', 'by ada@here: nobody wants it') AND entry IN ('retried', 'given up')", [16]byte(task.ID)); n != 2 {
			t.Errorf("%s: %d entries name the person, want 2", name, n)
		}
	}
}
