package consumer

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"outboxd/client/acknowledge"
)

// confirmation is the answer of confirmAll about one event.
type confirmation uint8

const (
	noEffect    confirmation = iota // the event took effect before, was cancelled, or is unknown
	takesEffect                     // the event takes effect in this transaction
	tooSoon                         // the event may not take effect yet; see ErrTooEarly
)

// All answers together are one text in one row, because every driver reads that in
// the same way.
//
// outbox_follow is called in the same statement, so that it costs no further round
// trip.
const confirmManySQL = `
WITH answers AS MATERIALIZED (SELECT event_id, answer FROM %[1]s.confirm_many($2::pg_catalog.text::pg_catalog._uuid))
SELECT pg_catalog.set_config('idle_in_transaction_session_timeout', $1::pg_catalog.text, true),
    CASE WHEN pg_catalog.current_setting('transaction_timeout', true) IS NOT NULL THEN pg_catalog.set_config('transaction_timeout', '0', true) END,
    (SELECT coalesce(pg_catalog.string_agg(pg_catalog.concat(event_id, '=', answer), ' '), '') FROM answers),
    (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('owner', owner, 'id', id, 'payload', pg_catalog.encode(payload, 'base64'), 'headers', headers))::pg_catalog.text
     FROM %[1]s.outbox_follow(ARRAY(SELECT event_id FROM answers WHERE answer OPERATOR(pg_catalog.=) 'first'), $3::pg_catalog.text, $4::pg_catalog.text, $5::pg_catalog.text::pg_catalog.int4))`

func (o *origin) confirmAll(ctx context.Context, row func(context.Context, string, ...any) Row, events []Event, most int) ([]confirmation, []follower, error) {
	schema, err := o.schema.find(ctx, row)
	if err != nil {
		return nil, nil, err
	}
	kind, queue := events[0].Type, events[0].Queue
	if slices.ContainsFunc(events, func(event Event) bool { return event.Type != kind }) {
		most = 0
	}
	var idle, whole, found sql.NullString
	var text string
	err = row(ctx, fmt.Sprintf(confirmManySQL, schema), patience(ctx), array(events), kind, queue, strconv.Itoa(most)).Scan(&idle, &whole, &text, &found)
	if err != nil {
		o.schema.forget()
		return nil, nil, err
	}
	list, err := readAnswers(text, events)
	if err != nil {
		return nil, nil, err
	}
	followers, err := readFollowers(found.String)
	return list, followers, err
}

// readAnswers returns the answers of confirm_many in the order of the events.
func readAnswers(text string, events []Event) ([]confirmation, error) {
	answers := make(map[string]string, len(events))
	for one := range strings.FieldsSeq(text) {
		id, answer, _ := strings.Cut(one, "=")
		answers[id] = answer
	}
	list := make([]confirmation, len(events))
	for i, event := range events {
		switch answer := answers[event.ID.String()]; answer {
		case "first":
			list[i] = takesEffect
		case "confirmed", "cancelled", "unknown":
		case "early":
			list[i] = tooSoon
		default:
			return nil, fmt.Errorf("confirm_many answers %q for event %s", answer, event.ID)
		}
	}
	return list, nil
}

// array returns the events' IDs as the text of a PostgreSQL array.
func array(events []Event) string {
	ids := make([]string, len(events))
	for i, event := range events {
		ids[i] = event.ID.String()
	}
	return "{" + strings.Join(ids, ",") + "}"
}

func (o *origin) committedAll(_ context.Context, events []Event) []error {
	return make([]error, len(events))
}

// The statement does the same as recordSQL, for several events. The statement
// inserts the rows in the order of their IDs, so that two such statements cannot
// deadlock.
const recordManySQL = `
WITH first AS (
    INSERT INTO outboxd_inbox (event_id) SELECT id FROM unnest($2::text::uuid[]) AS id ORDER BY id ON CONFLICT DO NOTHING RETURNING event_id
)
SELECT set_config('idle_in_transaction_session_timeout', $1::text, true),
    CASE WHEN current_setting('transaction_timeout', true) IS NOT NULL THEN set_config('transaction_timeout', '0', true) END,
    (SELECT coalesce(string_agg(event_id::text, ' '), '') FROM first)`

func (r *remote) confirmAll(ctx context.Context, row func(context.Context, string, ...any) Row, events []Event, _ int) ([]confirmation, []follower, error) {
	var idle, whole sql.NullString
	var text string
	if err := row(ctx, r.named(recordManySQL), patience(ctx), array(events)).Scan(&idle, &whole, &text); err != nil {
		return nil, nil, err
	}
	first := make(map[string]bool, len(events))
	for id := range strings.FieldsSeq(text) {
		first[id] = true
	}
	list := make([]confirmation, len(events))
	for i, event := range events {
		if first[event.ID.String()] {
			list[i] = takesEffect
		}
	}
	return list, nil, nil
}

// committedAll is called after the commit of a batch, and sends the
// acknowledgements of its events in one round trip.
func (r *remote) committedAll(ctx context.Context, events []Event) []error {
	ctx, cancel := acknowledging(ctx)
	defer cancel()
	list := make([]acknowledge.Acknowledgement, len(events))
	for i, event := range events {
		list[i] = acknowledgementOf(event)
	}
	errs := acknowledge.SendAll(ctx, r.redis, list)
	for i, err := range errs {
		errs[i] = unacknowledged(err)
	}
	return errs
}
