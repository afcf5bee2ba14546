package lead

import (
	"log/slog"
	"time"

	"outboxd/domain/lost"
)

// findings counts the events that a round of the reconciler found missing for the first time.
type findings struct {
	events, resent int
	example        lost.MissingEvent
}

func (f *findings) add(e *lost.MissingEvent, resent bool) {
	if !e.New {
		return
	}
	if f.events == 0 {
		f.example = *e
	}
	f.events++
	if resent {
		f.resent++
	}
}

// log logs the findings, once a round.
func (f *findings) log(log *slog.Logger, resend bool) {
	if f.events == 0 {
		return
	}
	e := &f.example
	args := []any{
		"events", f.events, "sent_again", f.resent, "an_event_id", e.Event.ID, "event_type", e.Event.Type, "queue", e.Event.Queue,
		"task", e.Task.String(), "sent_ago", time.Since(e.SentAt).Round(time.Second),
	}
	if f.resent < f.events {
		cure := "outboxd redrive --missing sends them again"
		if resend {
			cure = "no event of their type was confirmed yet: if no consumer confirms it, name it in --relay-unconfirmed; otherwise outboxd redrive --missing sends them again"
		}
		args = append(args, "cure", cure)
	}
	log.Warn("tasks of events that are not confirmed are no longer in Redis", args...)
	*f = findings{}
}
