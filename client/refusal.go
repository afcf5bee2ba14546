package client

import (
	"errors"
	"fmt"
	"strings"
)

// Refusal is the error for an event that the outbox cannot take as it is: the
// mistake is in the event, and trying again does not help.
type Refusal struct {
	// Field is the field of Event at fault; empty if PostgreSQL does not say.
	Field string
	// Reason says what is wrong with it, and what the bound is.
	Reason string
	// Aborted says that PostgreSQL refused it, so that the transaction can
	// only be rolled back. Otherwise nothing was sent, and the transaction can
	// go on.
	Aborted bool
	// Index is the event's place in EmitAll; -1 if it is not known.
	Index int

	cause error
}

func refusal(field, reason string, values ...any) *Refusal {
	return &Refusal{Field: field, Reason: fmt.Sprintf(reason, values...)}
}

// Error implements error.
func (r *Refusal) Error() string {
	consequence := "nothing was sent, and the transaction can go on"
	if r.Aborted {
		consequence = "the transaction is aborted and can only be rolled back"
	}
	return strings.ReplaceAll(fmt.Sprintf("the outbox refuses the event: %s %s (%s)", r.Field, r.Reason, consequence), ":  ", ": ")
}

// Unwrap returns the driver's error, if there is one.
func (r *Refusal) Unwrap() error { return r.cause }

// at says which of several events an error is about.
func at(index, of int, err error) error {
	if r, ok := errors.AsType[*Refusal](err); ok {
		r.Index = index
		if of > 1 {
			r.Reason += fmt.Sprintf(", in event %d of %d", index+1, of)
		}
	}
	return err
}

// sqlState is what the errors of pgx and of lib/pq have in common.
type sqlState interface {
	error
	SQLState() string
}

// explain turns a driver's error into a Refusal if PostgreSQL says that the data
// are at fault: SQLSTATE class 22 (data exception) and 23 (integrity constraint
// violation). To others it adds what mends them.
func (o Outbox) explain(err error, doing string) error {
	state, ok := errors.AsType[sqlState](err)
	if !ok {
		return fmt.Errorf("%s: %w", doing, err)
	}
	switch code := state.SQLState(); {
	case strings.HasPrefix(code, "22"), strings.HasPrefix(code, "23"):
		field, reason := constraint(err.Error())
		return &Refusal{Field: field, Reason: reason, Aborted: true, Index: -1, cause: err}
	case code == "3F000", code == "42P01", code == "42883":
		return fmt.Errorf("%s: there is no outbox in the schema %s of this database: name the right one in Outbox.Schema, or run outboxd migrate up: %w", doing, o.schema(), err)
	case code == "42501":
		return fmt.Errorf("%s: this role may not emit: GRANT outboxd_producer TO it, or see deploy/postgres/grants.sql: %w", doing, err)
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}

// fields are the outbox's columns by which its constraints begin.
var fields = []struct{ column, field string }{
	{"id", "ID"},
	{"event_type", "Type"},
	{"queue", "Queue"},
	{"payload", "Payload"},
	{"headers", "Headers"},
	{"max_retry", "MaxRetry"},
	{"timeout_seconds", "Timeout"},
	{"retention_seconds", "Retention"},
	{"unique_seconds", "UniqueFor"},
	{"available_at", "AvailableAt"},
	{"deadline", "Deadline"},
	{"ordering_key", "OrderingKey"},
}

// constraint reads field and bound from the name of the constraint, which every
// driver's message has in quotation marks, in whatever language it is.
func constraint(message string) (field, reason string) {
	for _, f := range fields {
		if _, rest, found := strings.Cut(message, `"outbox_`+f.column+"_"); found {
			rule, _, _ := strings.Cut(rest, `"`)
			return f.field, strings.ReplaceAll(rule, "_", " ") + ": this rule is broken"
		}
	}
	return "", message
}
