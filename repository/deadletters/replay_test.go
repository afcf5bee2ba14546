package deadletters_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/domain/replay"
	"outboxd/repository/deadletters"
	"outboxd/repository/repositorytest"
)

// A dead letter that the outbox refuses stays dead, and the others are replayed.
func TestADeadLetterThatIsRefusedFailsAlone(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	emit(t, db, 20)
	die(t, store, "no")
	exec(t, db, "UPDATE outbox_dead SET queue = ' ' WHERE event_type IN ('test:1', 'test:9')")
	exec(t, db, "UPDATE outbox_dead SET max_retry = -1 WHERE event_type = 'test:20'")
	bad := []domain.ID{find(t, db, "test:1"), find(t, db, "test:9"), find(t, db, "test:20")}

	letters := deadletters.New(db)
	action := &domain.Action{Actor: "ada"}
	var last replay.Progress
	err := (&replay.Replay{Letters: letters, Action: action}).Run(t.Context(), func(p replay.Progress) { last = p })
	if domain.ErrorCode(err) != domain.CodeInvalid || !strings.Contains(err.Error(), "outbox_queue_is_not_blank") || !strings.Contains(err.Error(), "outbox_max_retry_is_not_negative") {
		t.Errorf("the replay ended with %v", err)
	}
	if last.Changed != 17 || len(last.Refused) != len(bad) {
		t.Errorf("%d were replayed and %d refused, want 17 and %d", last.Changed, len(last.Refused), len(bad))
	}
	for _, r := range last.Refused {
		if !slices.Contains(bad, r.ID) || !strings.Contains(err.Error(), r.ID.String()) {
			t.Errorf("event %s was refused, want one of %v, and the error has to name it: %v", r.ID, bad, err)
		}
	}
	if n := count(t, db, "SELECT count(*) FROM outbox WHERE generation = 1 AND attempts = 0"); n != 17 {
		t.Errorf("%d events are back, want 17", n)
	}
	if n := count(t, db, "SELECT events FROM outbox_actions"); n != 17 {
		t.Errorf("the action has %d events, want 17", n)
	}
	wantEnding(t, letters, action.ID, domain.OutcomeFailed, "the outbox refuses dead letters")
	if n := count(t, db, "SELECT count(*) FROM outbox_journal WHERE entry = 'replayed'"); n != 17 {
		t.Errorf("the journal has %d, want 17", n)
	}
	balance(t, db)

	// A canary that is refused counts as failed.
	err = (&replay.Replay{Letters: letters, Action: &domain.Action{Actor: "ada"}, Pace: replay.Pace{Canary: 2, CanaryTimeout: time.Minute}}).Run(t.Context(), func(replay.Progress) {})
	if refused, one := errors.AsType[*domain.ReplayRefused](err); !one || !slices.Contains(bad, refused.ID) || !strings.Contains(err.Error(), "the canary failed") {
		t.Errorf("the canary ended with %v", err)
	}
	exec(t, db, "UPDATE outbox_dead SET queue = 'default', max_retry = NULL")
	if err := (&replay.Replay{Letters: letters, Action: &domain.Action{Actor: "ada"}}).Run(t.Context(), func(p replay.Progress) { last = p }); err != nil || last.Changed != 3 {
		t.Errorf("once they are mended, %d were replayed, %v", last.Changed, err)
	}
}

// An outbox that refuses everything is not asked about each of many dead letters.
func TestAnOutboxThatRefusesEverythingEndsAReplay(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	emit(t, db, 150)
	exec(t, db, schematest.DeadOf("no")+"FROM outbox o")
	exec(t, db, "DELETE FROM outbox")
	exec(t, db, "ALTER TABLE outbox ADD CONSTRAINT nothing CHECK (false)")
	var last replay.Progress
	err := (&replay.Replay{Letters: deadletters.New(db), Action: &domain.Action{Actor: "ada"}}).Run(t.Context(), func(p replay.Progress) { last = p })
	if err == nil || !strings.Contains(err.Error(), "left as they are") || last.Changed != 0 || len(last.Refused) != 100 {
		t.Errorf("%d were replayed, %d refused, %v", last.Changed, len(last.Refused), err)
	}
}

// Many dead letters of one error do not take the canary for themselves.
func TestTheCanaryHasEachTypeAndError(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	letters := deadletters.New(db)
	exec(t, db, `INSERT INTO outbox_dead (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, stage, error, died_at)
		SELECT outbox_new_id(), kind, '', '{}', 'default', now(), 1, 0, now(), 'worker', error || n, now() - (100 - n) * interval '1 minute'
		FROM (SELECT n, CASE WHEN n > 28 THEN 'b' ELSE 'a' END AS kind, CASE WHEN n BETWEEN 26 AND 28 THEN 'no such user ' ELSE 'timeout ' END AS error FROM generate_series(1, 30) n) AS dead`)
	undecided, cancel := context.WithCancel(t.Context())
	_ = (&replay.Replay{Letters: letters, Action: &domain.Action{Actor: "ada"}, Pace: replay.Pace{Canary: 8, CanaryTimeout: time.Minute}}).Run(undecided, func(replay.Progress) { cancel() })
	for condition, want := range map[string]int{
		"event_type = 'a' AND error LIKE 'timeout%'": 22, "event_type = 'a' AND error LIKE 'no such%'": 0, "event_type = 'b'": 0,
		"error IN ('timeout 1', 'timeout 2', 'timeout 3')": 0,
	} {
		if n := count(t, db, "SELECT count(*) FROM outbox_dead WHERE "+condition); n != want {
			t.Errorf("%d dead letters are left with %s, want %d", n, condition, want)
		}
	}
	if n := count(t, db, "SELECT count(*) FROM outbox_actions WHERE events = 8"); n != 1 {
		t.Error("the canary is not one action of 8 events")
	}
}

// The record says how a replay and a discard ended, whatever ended them.
func TestTheRecordSaysHowAnActionEnded(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	letters := deadletters.New(db)
	emit(t, db, 5)
	die(t, store, "no")
	run := func(ctx context.Context, canary int, tell func(replay.Progress)) domain.ID {
		t.Helper()
		action := &domain.Action{Actor: "ada"}
		err := (&replay.Replay{Letters: letters, Action: action, Pace: replay.Pace{Canary: canary, CanaryTimeout: time.Minute}}).Run(ctx, tell)
		if (err == nil) != (canary == 0) {
			t.Errorf("a replay with a canary of %d ended with %v", canary, err)
		}
		return action.ID
	}
	// One event of the canary dies again as soon as it is back.
	failed := run(t.Context(), 2, func(replay.Progress) {
		exec(t, db, "WITH gone AS (DELETE FROM outbox WHERE id = (SELECT id FROM outbox WHERE generation = 1 ORDER BY id LIMIT 1) RETURNING *) "+schematest.DeadOf("again")+"FROM gone o")
	})
	wantEnding(t, letters, failed, domain.OutcomeStopped, "the canary failed: 1 of 2 events died again")

	// The process ends while the canary is undecided.
	ctx, end := context.WithCancel(t.Context())
	interrupted := run(ctx, 1, func(replay.Progress) {
		if a, err := letters.Actions(t.Context(), domain.ID{}, 1); err != nil || a[0].Outcome != "" || a[0].Ending() != "not ended" {
			t.Errorf("while it runs, the action is %+v, %v", a, err)
		}
		end()
	})
	wantEnding(t, letters, interrupted, domain.OutcomeInterrupted, "the process was told to end")

	wantEnding(t, letters, run(t.Context(), 0, func(replay.Progress) {}), domain.OutcomeDone, "")
	discard := &domain.Action{Actor: "ada"}
	if err := replay.DiscardAll(t.Context(), letters, discard, domain.DeadFilter{}, func(replay.Progress) {}); err != nil {
		t.Fatal(err)
	}
	wantEnding(t, letters, discard.ID, domain.OutcomeDone, "")
}

func wantEnding(t *testing.T, letters *deadletters.Letters, id domain.ID, outcome domain.ActionOutcome, cause string) {
	t.Helper()
	if a, err := letters.Action(t.Context(), id); err != nil || a.Outcome != outcome || !strings.HasPrefix(a.Cause, cause) || (a.Cause == "") != (cause == "") {
		t.Errorf("%+v, %v, want one that is %s: %s", a, err, outcome, cause)
	}
}
