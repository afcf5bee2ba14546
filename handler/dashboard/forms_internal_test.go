package dashboard

import (
	"net/url"
	"reflect"
	"strings"
	"testing"

	"outboxd/domain"
)

// TestUnmaskGivesNoElementTheValueOfAnother fills hidden values in by their places.
func TestUnmaskGivesNoElementTheValueOfAnother(t *testing.T) {
	t.Parallel()
	const before = `{"name":"ada","cards":[{"id":1,"pin":"a"},{"id":2,"pin":"b"}]}`
	hidden := func(ids ...string) string {
		for i, id := range ids {
			ids[i] = `{"id":` + id + `,"pin":"•••"}`
		}
		return `{"cards":[` + strings.Join(ids, ",") + `]}`
	}
	for typed, want := range map[string]string{
		`{"name":"bob","cards":[{"id":1,"pin":"•••"},{"id":2,"pin":"•••"}]}`: `{"cards":[{"id":1,"pin":"a"},{"id":2,"pin":"b"}],"name":"bob"}`,
		`{"cards":[{"id":2,"pin":"c"}]}`:                                     `{"cards":[{"id":2,"pin":"c"}]}`,
		`{"other":"•••"}`:                                                    "",
		// An element that changed its place keeps its value.
		hidden("2", "1"):      `{"cards":[{"id":2,"pin":"b"},{"id":1,"pin":"a"}]}`,
		hidden("2"):           `{"cards":[{"id":2,"pin":"b"}]}`,
		hidden("2", "1", "3"): "",
		// One that was edited has the value of its place if nothing else changed.
		hidden("1", "3"): `{"cards":[{"id":1,"pin":"a"},{"id":3,"pin":"b"}]}`,
		hidden("3", "1"): "",
		hidden("4", "3"): "",
		hidden("1", "1"): "",
		hidden("3"):      "",
	} {
		got, err := newMask([]string{"pin"}).unmask([]byte(typed), []byte(before))
		if string(got) != want || (err == nil) != (want != "") {
			t.Errorf("%s: %s, %v, want %q", typed, got, err, want)
		}
	}
	const alike = `[{"id":1,"pin":"a"},{"id":1,"pin":"b"},{"id":2,"pin":"c"}]`
	for typed, want := range map[string]string{
		`[{"id":1,"pin":"•••"},{"id":1,"pin":"•••"},{"id":2,"pin":"•••"}]`: alike,
		`[{"id":2,"pin":"•••"},{"id":1,"pin":"•••"},{"id":1,"pin":"•••"}]`: "",
	} {
		if got, err := newMask([]string{"pin"}).unmask([]byte(typed), []byte(alike)); string(got) != want || (err == nil) != (want != "") {
			t.Errorf("%s: %s, %v, want %q", typed, got, err, want)
		}
	}
}

const letter = "01980000-0000-7000-8000-000000000000"

// FuzzReadChange reads forms that a browser may send. No form chooses
// everything, and the change that is read contains only what was sent.
func FuzzReadChange(f *testing.F) {
	for _, form := range []string{
		"action=replay&type=email%3Asend&form=no+%23", "action=replay&not=a&not=b&field=a.b%3D1&since=1h", "action=replay&until=1h", "action=replay&field=..", "action=discard&id=" + letter + "&until=2026-01-02T03:04:05.6Z", "action=replay",
		"action=drop&type=a", "action=replay&id=x", "action=replay&id=", "action=replay&type=a&until=now", "%", "id=" + letter + "&id=" + letter,
		"action=replay&type=a&reason=" + strings.Repeat("a", maxReason+1), "action=replay" + strings.Repeat("&id="+letter, maxChosen+1),
	} {
		f.Add(form)
	}
	f.Fuzz(func(t *testing.T, form string) {
		values, err := url.ParseQuery(form)
		if err != nil {
			return
		}
		change, filter, err := readChange(values)
		if err != nil {
			if domain.ErrorCode(err) != domain.CodeInvalid {
				t.Errorf("%q: %v, want it called invalid", form, err)
			}
			return
		}
		everything := domain.DeadFilter{Until: filter.Until}
		if reflect.DeepEqual(filter, everything) {
			t.Errorf("%q chooses everything", form)
		}
		if len(filter.IDs) != len(values["id"]) || len(filter.IDs) > maxChosen || len(change.Reason) > maxReason {
			t.Errorf("%q was read as %+v", form, filter)
		}
	})
}
