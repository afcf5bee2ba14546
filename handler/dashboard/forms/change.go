package forms

import (
	"crypto/rand"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"outboxd/domain"
	"outboxd/domain/access"
	"outboxd/domain/replay"
)

// maxReason is how many bytes a reason may have.
const maxReason = 2000

// maxRate is the greatest rate that a form takes.
const maxRate = 100_000

// canaryFrom is the number of events above which the form of a replay or a retry suggests a canary. canaryUsual is how
// many events this canary has.
const (
	canaryFrom  = 20
	canaryUsual = 5
)

// Change is a change of dead letters (replay or discard) that the visitor has not confirmed yet.
type Change struct {
	Dead
	Action string
	Token  string // of the form; see Token
	domain.DeadCount
	Counting       bool                // the page counts a second time, for longer
	Limited        bool                // of failing events: a queue has more than the change reads; known at the end of a cancellation
	Paused         []domain.QueueCount // the paused queues in which tasks wait; nil: none, or not known
	Reason, Canary string
	Rate           string // dead letters a second; "" and "0": no limit
}

// Unnamed returns how many of the counted types Largest leaves out.
func (f *Change) Unnamed() int64 { return int64(f.Types - len(f.Largest)) }

// ReadChange reads which dead letters the form chooses. ReadChange refuses a form that chooses all of them.
func ReadChange(values url.Values, hides Hides) (f Change, filter domain.DeadFilter, err error) {
	f = Change{Action: values.Get("action"), Token: Token(values), Canary: values.Get("canary"), Rate: values.Get("rate")}
	if f.Action != access.Replay && f.Action != access.Discard {
		return f, filter, domain.Errorf(domain.CodeInvalid, "dead letters are replayed or discarded")
	}
	if f.Reason, err = Reason(values.Get("reason")); err != nil {
		return f, filter, err
	}
	if f.Dead, filter, err = ReadDead(values, hides); err != nil {
		return f, filter, err
	}
	if len(f.IDs) == 0 && values.Get("scope") == "chosen" {
		return f, filter, domain.Errorf(domain.CodeInvalid, "nothing is chosen: mark dead letters in the table, or take all that match")
	}
	if !ChoosesDead(filter) {
		return f, filter, domain.Errorf(domain.CodeInvalid, "choose a group, single dead letters or a filter first")
	}
	return f, filter, nil
}

// maxToken is how many bytes of a form's token count.
const maxToken = 64

// Token returns the token of a form. A form gets a new one when it is opened, and sends it. So a form that is sent twice,
// for example by a double click, begins one change.
func Token(values url.Values) string {
	if token := values.Get("form"); token != "" {
		return token[:min(len(token), maxToken)]
	}
	return rand.Text()
}

// Reason returns the reason that a visitor gave for an action; "" if none.
func Reason(text string) (string, error) {
	text = strings.TrimSpace(text)
	if len(text) > maxReason {
		return "", domain.Errorf(domain.CodeInvalid, "that is too much for one form: be brief about the reason")
	}
	return text, nil
}

// Fix makes the choice independent of the present time, so that it does not change while the visitor reads the form.
// The parameter now is the time of the database. The choice leaves out dead letters that die later.
func (f *Change) Fix(filter domain.DeadFilter, now time.Time) {
	fixed := filter.At(now)
	f.fix(fixed.Since, fixed.Until)
}

// UsualCanary returns the size of the canary that the form suggests; "0": no canary.
func (f *Change) UsualCanary() string { return usualCanary(f.Canary, f.Matched, f.More) }

// usualCanary returns the size of the canary that the visitor gave, or else a usual one. The parameter matched is
// how many events matched when they were counted; more says that the count may be incomplete.
func usualCanary(said string, matched int64, more bool) string {
	switch {
	case said != "":
		return said
	case more, matched > canaryFrom:
		return strconv.Itoa(canaryUsual)
	default:
		return "0"
	}
}

// ReadCanary reads the size of a canary. The text fault says what is wrong with the size, or is "" if nothing is.
func ReadCanary(text string) (canary int, fault string) {
	canary, err := strconv.Atoi("0" + text)
	if err != nil || canary > replay.Batch {
		return 0, "The canary is a number of events, up to 500."
	}
	return canary, ""
}

// Said returns the form for the record of actions.
func (f *Change) Said() map[string]string {
	return said(slices.Concat(f.Pairs(), canaryPair(f.Canary), ratePair(f.Rate)))
}

// ReadRate reads how many dead letters to replay each second; 0: no limit. The text fault says what is wrong with the
// rate, or is "" if nothing is.
func ReadRate(text string) (rate int, fault string) {
	rate, err := strconv.Atoi("0" + text)
	if err != nil || rate > maxRate {
		return 0, "The rate is a number of dead letters a second, up to 100000."
	}
	return rate, ""
}

// ratePair returns the rate for the record of actions; none if there is no limit.
func ratePair(text string) []Pair {
	rate, _ := ReadRate(text)
	if rate == 0 {
		return nil
	}
	return []Pair{{"rate", strconv.Itoa(rate)}}
}

// canaryPair returns the canary for the record of actions, as commands record their flag; none if there is no canary.
func canaryPair(text string) []Pair {
	canary, _ := ReadCanary(text)
	if canary == 0 {
		return nil
	}
	return []Pair{{"canary", strconv.Itoa(canary)}}
}
