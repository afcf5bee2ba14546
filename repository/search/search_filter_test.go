package search_test

import (
	"strings"
	"testing"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/repository"
)

// Events are chosen by a field of their payload and by their errors, and left out by error and type, in every table.
func TestEventsAreChosenByPayloadAndError(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	store := repository.NewOutbox(db, repository.OutboxOptions{History: true, DeadHoldsKey: true})
	exec(t, db, `INSERT INTO outbox (event_type, payload) VALUES ('a:dead', '{"to": "ada"}')`)
	die(t, store, "no such user 7")
	exec(t, db, `INSERT INTO outbox (event_type, payload) VALUES ('b:sent', '{"to": "ada", "n": 1e3}')`)
	relayAll(t, store)
	exec(t, db, `INSERT INTO outbox (event_type, payload, last_error, available_at) VALUES ('c:refused', '{"to": "bob"}', 'Redis said no', now() + interval '1 hour'), ('d:bytes', '\xff', NULL, now())`)
	exec(t, db, `INSERT INTO outbox (event_type, payload, available_at) VALUES ('f:zero', convert_to('{"to": "ada", "x": "\u0000"}', 'UTF8'), now() + interval '1 hour'), ('e:escaped', convert_to('{"t\u006f": "\u0061da", "é": "x"}', 'UTF8'), now() + interval '1 hour')`)
	for want, filters := range map[string][]lives.Filter{
		"e:escaped b:sent a:dead":                {{Payload: domain.PayloadField{Path: []string{"to"}, Value: "ada"}}, {Payload: domain.PayloadField{Path: []string{"to"}, Value: "a*"}}},
		"e:escaped":                              {{Payload: domain.PayloadField{Path: []string{"é"}, Any: true}}},
		"e:escaped c:refused b:sent a:dead":      {{Payload: domain.PayloadField{Path: []string{"to"}, Any: true}}},
		"b:sent":                                 {{Payload: domain.PayloadField{Path: []string{"n"}, Value: "1e3"}}, {Payload: domain.PayloadField{Path: []string{"n"}, Any: true}}},
		"c:refused":                              {{Error: "redis SAID"}},
		"e:escaped f:zero d:bytes c:refused":     {{NotTypes: []string{"a:dead", "b:sent"}}, {NotTypes: []string{"a:*", "b:s*", ""}}},
		"e:escaped f:zero d:bytes b:sent a:dead": {{NotErrors: []string{"said", "nothing"}}, {NotFields: []domain.PayloadField{{Path: []string{"to"}, Value: "b*"}}}},
		"f:zero d:bytes c:refused":               {{NotFields: []domain.PayloadField{{Path: []string{"n"}, Value: "1"}, {Path: []string{"to"}, Value: "ada"}}}},
		"f:zero d:bytes":                         {{NotFields: []domain.PayloadField{{Path: []string{"to"}, Any: true}}}},
	} {
		for _, filter := range filters {
			var kinds []string
			for _, f := range found(t, db, filter, 10) {
				kind, _, _ := strings.Cut(f, "=")
				kinds = append(kinds, kind)
			}
			if got := strings.Join(kinds, " "); got != want {
				t.Errorf("%+v finds %q, want %q", filter, got, want)
			}
		}
	}
}
