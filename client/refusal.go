package client

import (
	"errors"
	"fmt"
	"strings"
)

// Refusal is the error for an event that the outbox does not accept. The event
// itself is wrong, so trying again does not help.
type Refusal struct {
	// Field is the name of the wrong field of Event; empty if it is not known.
	Field string
	// Reason says what is wrong with the field.
	Reason string
	// Aborted is true if PostgreSQL refused the event. If Aborted is true, the
	// transaction can only be rolled back, whole or to a savepoint. If Aborted is
	// false, the client refused the event and sent nothing, so the transaction can
	// continue.
	Aborted bool
	// Index is the event's index in the slice given to EmitAll; -1 if it is not
	// known.
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

// Unwrap returns the error of the driver or of encoding/json, if there is one.
func (r *Refusal) Unwrap() error { return r.cause }

// The function at adds the index of an event to the error about that event.
func at(index, of int, err error) error {
	if r, ok := errors.AsType[*Refusal](err); ok {
		r.Index = index
		if of > 1 {
			r.Reason += fmt.Sprintf(", in event %d of %d", index+1, of)
		}
	}
	return err
}

// sqlState is the interface that the errors of pgx and lib/pq implement.
type sqlState interface {
	error
	SQLState() string
}

// explain turns a driver's error into a Refusal if the cause is the event's data:
// SQLSTATE class 22 (data exception) or 23 (integrity constraint violation). If the
// outbox or a right is missing, it adds to the error what to do.
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

// fields lists columns of the table outbox and the fields of Event that fill them.
// The name of a constraint on a column begins with outbox_ and the column's name.
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

// constraint returns the field and the limit that a violated constraint is about,
// from the constraint's name; "" and the message if it finds no such name. A driver's
// message has that name in every language, but in the quotation marks of the
// language.
func constraint(message string) (field, reason string) {
	for _, f := range fields {
		if _, rest, found := strings.Cut(message, "outbox_"+f.column+"_"); found {
			if end := strings.IndexFunc(rest, isNoNamePart); end >= 0 {
				rest = rest[:end]
			}
			return f.field, strings.ReplaceAll(rest, "_", " ") + ": this rule is broken"
		}
	}
	return "", message
}

// isNoNamePart reports whether c cannot be part of the name of a constraint of the
// outbox.
func isNoNamePart(c rune) bool {
	return c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z')
}
