package figures_test

import (
	"context"
	"testing"

	"outboxd/domain/figures"
	"outboxd/domain/overview"
	"outboxd/domain/setup"
)

// servers answers as PostgreSQL and as Redis. As soon as Redis is asked for the
// queues, the record has the pause of another queue.
type servers struct {
	figures.Store
	recorded map[string]setup.Pause
}

func (s *servers) Snapshot(context.Context) (figures.Snapshot, error) {
	return figures.Snapshot{}, nil
}

func (s *servers) Pauses(context.Context) (map[string]setup.Pause, error) { return s.recorded, nil }

func (s *servers) Queues(context.Context) ([]overview.QueueStatus, error) {
	s.recorded = map[string]setup.Pause{"paused meanwhile": {}, "lost": {}}
	return []overview.QueueStatus{{Name: "paused meanwhile"}}, nil
}

func (s *servers) Workers(context.Context) ([]overview.WorkerStatus, error) { return nil, nil }

// A pause on record counts as lost only if no other database can have ended it.
func TestLostPauses(t *testing.T) {
	t.Parallel()
	for _, several := range []bool{false, true} {
		s := &servers{recorded: map[string]setup.Pause{"lost": {By: "ada"}}}
		lost := ""
		for _, q := range (&figures.Source{Store: s, Queues: s, OneOfSeveral: several}).All(t.Context()).Lines {
			if q.LostPause != nil {
				lost += q.Name
			}
		}
		if want := map[bool]string{false: "lost", true: ""}[several]; lost != want {
			t.Errorf("one of several: %t: %q is lost, want %q", several, lost, want)
		}
	}
}
