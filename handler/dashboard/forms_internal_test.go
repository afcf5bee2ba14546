package dashboard

import (
	"net/url"
	"reflect"
	"strings"
	"testing"

	"outboxd/domain"
)

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
