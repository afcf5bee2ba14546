package forms

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"outboxd/domain"
	"outboxd/domain/lives"
)

const letter = "01980000-0000-7000-8000-000000000000"

// FuzzReadChange reads forms that a browser may send. A change that is read does not choose
// everything, and has as many IDs as were sent.
func FuzzReadChange(f *testing.F) {
	for _, form := range []string{
		"action=replay&type=email%3Asend&error-form=no+%23", "action=replay&not-error-form=a&not-error-form=b&not-type=a*&field=a.b%3D1&since=1h", "action=replay&until=1h", "action=replay&field=..", "action=replay&not-field=a.b%3D1*&not-field=c", "action=replay&not-field=%20", "action=replay&not-field=%3D1", "action=replay&not-key=k&not-header=a%3Db&not-header=c", "action=replay&not-header=%3Dx", "action=discard&id=" + letter + "&until=2026-01-02T03:04:05.6Z", "action=replay",
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
		change, filter, err := ReadChange(values, hidesNothing)
		if err != nil {
			if domain.ErrorCode(err) != domain.CodeInvalid {
				t.Errorf("%q: %v, want it called invalid", form, err)
			}
			return
		}
		if !ChoosesDead(filter) {
			t.Errorf("%q chooses everything", form)
		}
		if len(filter.IDs) != len(values["id"]) || len(filter.IDs) > maxChosen || len(change.Reason) > maxReason {
			t.Errorf("%q was read as %+v", form, filter)
		}
	})
}

func hidesNothing(string) bool { return false }

func TestAFormThatLeavesNothingOutIsRefused(t *testing.T) {
	t.Parallel()
	forms := map[string]struct {
		action string
		read   func(url.Values) error
	}{
		"dead letters":   {"replay", func(v url.Values) error { _, _, err := ReadChange(v, hidesNothing); return err }},
		"events":         {"", func(v url.Values) error { _, _, err := ReadCancel(v, hidesNothing); return err }},
		"failing events": {domain.ActionRetry, func(v url.Values) error { _, _, err := ReadFailing(v); return err }},
	}
	for name, form := range forms {
		for query, refused := range map[string]bool{
			"": true, "type=": true, "type=*": true, "type=*&queue=*": true, "not-error-form=&not-type=&not-error=&not-field=%20&not-key=&not-header=%20": true, "until=1h": true, "type=*&until=2026-01-02": true,
			"type=a": false, "type=a*": false, "queue=a": false, "id=" + letter: false,
		} {
			values, err := url.ParseQuery(query)
			if err != nil {
				t.Fatal(err)
			}
			values.Set("action", form.action)
			if err := form.read(values); (domain.ErrorCode(err) == domain.CodeInvalid) != refused || !refused && err != nil {
				t.Errorf("%s, %q: %v", name, query, err)
			}
		}
	}
}

// The confirmation is a form of its own, and must choose no more than what the visitor saw.
func TestAConfirmedCancellationKeepsItsID(t *testing.T) {
	t.Parallel()
	f, _, err := ReadCancel(url.Values{"id": {letter}, "type": {"a"}}, hidesNothing)
	if err != nil {
		t.Fatal(err)
	}
	confirmed := url.Values{}
	for _, p := range f.Pairs() {
		confirmed.Add(p.Name, p.Value)
	}
	if _, filter, err := ReadCancel(confirmed, hidesNothing); err != nil || filter.ID.String() != letter {
		t.Errorf("the confirmed form chooses %+v, %v", filter, err)
	}
}

// The states that a search leaves out stay left out on the next page and in the form that cancels what matches.
func TestStatesAreLeftOut(t *testing.T) {
	t.Parallel()
	q, filter, err := ReadEvents(url.Values{"not-state": {"confirmed", "", "in-flight"}}, hidesNothing)
	if err != nil || !slices.Equal(filter.NotStates, []lives.State{lives.StateConfirmed, lives.StateInFlight}) || ChoosesEvents(filter) {
		t.Errorf("%+v, %v", filter, err)
	}
	again, err := url.ParseQuery(string(q.Query()))
	if err != nil || !slices.Equal(again["not-state"], []string{"confirmed", "in-flight"}) {
		t.Errorf("%q, %v", q.Query(), err)
	}
	if _, _, err := ReadEvents(url.Values{"not-state": {"gone"}}, hidesNothing); domain.ErrorCode(err) != domain.CodeInvalid {
		t.Error(err)
	}
}

// The record of actions has the canary as commands record theirs: none if there is none.
func TestTheRecordHasTheCanary(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{"": "", "0": "", "5": "5", "007": "7"} {
		replay, retry := Change{Canary: typed}, Failing{Canary: typed}
		if of, is := replay.Said()["canary"], retry.Said()["canary"]; of != want || is != want {
			t.Errorf("%q is recorded as %q of a replay and %q of a retry, want %q", typed, of, is, want)
		}
	}
}

// The form of a change has the time at which it was opened, and keeps it when it is sent.
func TestAChangeOfFailingEventsKeepsTheTimeOfTheLook(t *testing.T) {
	t.Parallel()
	began := time.Now()
	f, filter, err := ReadFailing(url.Values{"action": {domain.ActionGiveUp}, "type": {"a"}})
	if err != nil || filter.AsOf.Before(began) || filter.AsOf.After(time.Now()) {
		t.Fatalf("%+v, %v", filter, err)
	}
	sent, err := url.ParseQuery(string(f.Query()))
	if err != nil {
		t.Fatal(err)
	}
	if _, again, err := ReadFailing(sent); err != nil || !again.AsOf.Equal(filter.AsOf) {
		t.Errorf("sent, it is %+v, %v", again, err)
	}
	if _, one, err := ReadFailing(url.Values{"action": {domain.ActionGiveUp}, "id": {letter}}); err != nil || !one.AsOf.IsZero() {
		t.Errorf("of a single event it is %+v, %v", one, err)
	}
	sent.Set("as-of", "yesterday")
	if _, _, err := ReadFailing(sent); domain.ErrorCode(err) != domain.CodeInvalid {
		t.Error(err)
	}
}
