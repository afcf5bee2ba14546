package export

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"outboxd/domain"
	"outboxd/domain/lives"
)

// encodedColumn has payloads in base64, which is no formula even if it begins with +.
const encodedColumn = "payload_base64"

// page is how many rows are read at a time.
const page = 500

// Payload returns a payload as text, or as base64 if it is no text.
func Payload(raw []byte) (text, encoded string) {
	if utf8.Valid(raw) && !strings.ContainsRune(string(raw), 0) {
		return string(raw), ""
	}
	return "", base64.StdEncoding.EncodeToString(raw)
}

// Hidden has the functions that write the parts of an event that an export may have to
// hide.
type Hidden struct {
	// The field Payload writes a payload: it is the function Payload, or one that hides
	// parts of the payload.
	Payload func(raw []byte) (text, encoded string)
	// Header returns the value of a header.
	Header func(name, value string) string
}

// DeadLetters writes the dead letters that a filter chooses, those that died first at the
// top, and returns how many. Errors: domain.CodeInvalid for an unknown form; those of
// letters, and of w.
func DeadLetters(ctx context.Context, w io.Writer, form string, letters domain.DeadLetters, filter domain.DeadFilter, hidden Hidden) (int64, error) {
	t, err := newTable(w, form, []string{
		"id", "type", "queue", "ordering_key", "generation", "stage", "attempts", "error", "first_error", "created_at", "first_failed_at", "died_at", "headers", "payload", encodedColumn,
	})
	if err != nil {
		return 0, err
	}
	for after := (domain.Cursor{}); ; {
		list, err := letters.List(ctx, filter, after, page)
		if err != nil {
			return t.rows, err
		}
		for i := range list {
			d := &list[i]
			text, encoded := hidden.Payload(d.Payload)
			if err := t.add(d.ID.String(), d.Type, d.Queue, d.OrderingKey, d.Generation, string(d.Stage), d.Attempts, d.Error, d.FirstError,
				moment(d.CreatedAt), moment(d.FirstFailedAt), moment(d.DiedAt), headers(d.Headers, hidden.Header), text, encoded); err != nil {
				return t.rows, err
			}
		}
		if len(list) < page {
			return t.rows, t.close()
		}
		after = list[len(list)-1].Cursor()
	}
}

// Events writes the events that a filter chooses, the newest first, and returns how many.
// queueFault says why Redis could not be asked; then failing events may have been written as
// in flight. Errors: as DeadLetters, and domain.CodeUnavailable if a search cannot find all
// failing events; see lives.Page.Incomplete.
func Events(ctx context.Context, w io.Writer, form string, lives lives.Reader, filter lives.Filter) (rows int64, queueFault string, err error) {
	t, err := newTable(w, form, []string{"id", "type", "queue", "ordering_key", "state", "created_at", "since", "attempts", "generation", "error", "payload_bytes"})
	if err != nil {
		return 0, "", err
	}
	for before := (domain.ID{}); ; {
		found, err := lives.Search(ctx, filter, before, page)
		if err != nil {
			return t.rows, queueFault, err
		}
		queueFault = cmp.Or(queueFault, found.QueueFault)
		for i := range found.Events {
			e := &found.Events[i]
			if err := t.add(e.ID.String(), e.Type, e.Queue, e.OrderingKey, string(e.State), moment(e.CreatedAt), moment(e.Since), e.Attempts, e.Generation, e.Error, e.PayloadBytes); err != nil {
				return t.rows, queueFault, err
			}
		}
		if before = found.Next; before.IsZero() {
			err = t.close()
			if err == nil && found.Incomplete {
				err = domain.Errorf(domain.CodeUnavailable, "%s", found.Missing())
			}
			return t.rows, queueFault, err
		}
	}
}

func moment(at time.Time) string { return at.UTC().Format(time.RFC3339Nano) }

// An event's headers are written as one JSON object, in CSV too.
func headers(all map[string]string, shown func(name, value string) string) string {
	visible := make(map[string]string, len(all))
	for name, value := range all {
		visible[name] = shown(name, value)
	}
	text, _ := json.Marshal(visible) // strings always encode
	return string(text)
}
