package app_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/domain/queued"
)

// answers returns what events show can answer: the description of an event in every
// state, with every kind of task.
func answers() map[string]bool {
	now := time.Now()
	tasks := [][]queued.TaskState{nil, {}}
	for _, state := range []string{"active", "pending", "scheduled", "retry", "archived", "completed", queued.StateStranded} {
		tasks = append(tasks, []queued.TaskState{{Queue: "mail", State: state, Retried: 9, MaxRetry: 25, LastError: "refused", NextAt: now}})
	}
	tasks = append(tasks, []queued.TaskState{{Queue: "mail", State: "retry", LastError: "no handler", Unhandled: true, NextAt: now}})
	id, other := domain.ID{1}, domain.ID{2}
	said := map[string]bool{}
	for _, state := range append(lives.States(), lives.StateGone) {
		if state == lives.StateFailing { // the database has it as in flight
			continue
		}
		for _, task := range tasks {
			for _, due := range []time.Time{now.Add(-time.Hour), now.Add(time.Hour)} {
				for _, turn := range []domain.ID{{}, id, other} {
					for _, split := range []domain.Split{"", domain.SplitInstead} {
						for _, journal := range [][]lives.JournalEntry{nil, {{Entry: "discarded", Detail: "by ada"}}} {
							life := lives.Life{State: state, Stage: domain.StageWorker, TurnOf: turn, HeldBehind: 9, Journal: journal, Cancelled: "by ada"}
							life.ID, life.Available, life.Split, life.OrderingKey = id, due, split, "customer-3"
							said[life.Describe(task, now)] = true
						}
					}
				}
			}
		}
	}
	return said
}

// Each answer of events show has a row in the runbook, and each row an answer.
func TestRunbookHasARowForEveryAnswer(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/guides/runbook/an-event-did-not-arrive.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]*regexp.Regexp{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)`").FindAllStringSubmatch(string(text), -1) {
		rows[row[1]] = regexp.MustCompile("^(in flight: )?" + strings.NewReplacer(" …", ".*", "…", ".*").Replace(regexp.QuoteMeta(row[1])))
	}
	if len(rows) == 0 {
		t.Fatal("the runbook has no rows")
	}
	unused := map[string]bool{}
	for row := range rows {
		unused[row] = true
	}
	for answer := range answers() {
		found := false
		for row, matches := range rows {
			if matches.MatchString(answer) {
				found = true
				delete(unused, row)
			}
		}
		if !found {
			t.Errorf("the runbook has no row for %q", answer)
		}
	}
	for row := range unused {
		t.Errorf("no event is ever %q", row)
	}
}
