package dashboard

import (
	"context"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/replay"
)

const (
	canaryPatience = 5 * time.Minute
	countPatience  = 3 * time.Second
	deadCounted    = 10_000 // at most so many dead letters are counted

	// The limits for a submitted form. The page itself sends far less.
	maxChosen = 500 // dead letters
	maxReason = 2000
)

// changeForm is a change of dead letters (replay or discard), as the visitor chose
// it. Of a cancellation of events it has only the Action.
type changeForm struct {
	deadQuery
	Action string
	domain.DeadCount
	More           bool // more dead letters match than Matched
	Fault          string
	Reason, Canary string
}

// Unnamed returns how many types match that Largest does not name.
func (f *changeForm) Unnamed() int { return f.Types - len(f.Largest) }

// canaryFrom is the number of dead letters above which a replay begins with a canary, if
// nobody says otherwise. canaryUsual is how many dead letters this canary has.
const (
	canaryFrom  = 20
	canaryUsual = 5
)

// UsualCanary returns the size of the canary that the form suggests; "0": no canary.
func (f *changeForm) UsualCanary() string {
	switch {
	case f.Canary != "":
		return f.Canary
	case f.Matched > canaryFrom:
		return strconv.Itoa(canaryUsual)
	default:
		return "0"
	}
}

// readChange reads which dead letters the form chooses. readChange refuses a form
// that chooses all of them.
func readChange(values url.Values) (changeForm, domain.DeadFilter, error) {
	f := changeForm{
		Action: values.Get("action"), Reason: strings.TrimSpace(values.Get("reason")), Canary: values.Get("canary"),
	}
	var filter domain.DeadFilter
	if f.Action != "replay" && f.Action != "discard" {
		return f, filter, domain.Errorf(domain.CodeInvalid, "dead letters are replayed or discarded")
	}
	if len(f.Reason) > maxReason {
		return f, filter, domain.Errorf(domain.CodeInvalid, "that is too much for one form: be brief about the reason")
	}
	var err error
	if f.deadQuery, filter, err = readDeadQuery(values); err != nil {
		return f, filter, err
	}
	if len(f.IDs) == 0 && values.Get("scope") == "chosen" {
		return f, filter, domain.Errorf(domain.CodeInvalid, "nothing is chosen: mark dead letters in the table, or take all that match")
	}
	if !choosesDead(filter) {
		return f, filter, domain.Errorf(domain.CodeInvalid, "choose a group, single dead letters or a filter first")
	}
	return f, filter, nil
}

// confirmChange asks for a reason, and says how many dead letters the change
// covers. The change does not cover events that die later.
func (d *Dashboard) confirmChange(c *fiber.Ctx) error {
	values, err := url.ParseQuery(string(c.Request().URI().QueryString()))
	if err != nil {
		return domain.Errorf(domain.CodeInvalid, "the address cannot be read")
	}
	f, filter, err := readChange(values)
	if err != nil {
		return err
	}
	return d.changeForm(c, f, filter)
}

func (d *Dashboard) changeForm(c *fiber.Ctx, f changeForm, filter domain.DeadFilter) error {
	if d.o.Sources.Dead == nil {
		return errNoDatabase()
	}
	ctx, cancel := context.WithTimeout(c.UserContext(), countPatience)
	defer cancel()
	var err error
	if f.DeadCount, err = d.o.Sources.Dead.Count(ctx, filter, deadCounted); err != nil {
		return err
	}
	f.More = f.Matched == deadCounted
	// Times that were relative to now become absolute, so that the choice does not
	// change while the person reads the form.
	fixed := filter.At(f.At)
	f.Until = fixed.Until.UTC().Format(time.RFC3339Nano)
	if !fixed.Since.IsZero() {
		f.Since = fixed.Since.UTC().Format(time.RFC3339Nano)
	}
	return d.Render(c, Page{Template: "change", Title: "Confirm", Section: SectionDead, Data: &f})
}

// startChange begins the change that the visitor confirmed, and redirects to the
// page that shows the change's progress.
func (d *Dashboard) startChange(c *fiber.Ctx) error {
	values, err := url.ParseQuery(string(c.Body()))
	if err != nil {
		return domain.Errorf(domain.CodeInvalid, "the form cannot be read")
	}
	f, filter, err := readChange(values)
	if err != nil {
		return err
	}
	who, err := d.permit(c, f.Action)
	if err != nil {
		return err
	}
	if d.o.Sources.Dead == nil {
		return errNoDatabase()
	}
	canary, err := strconv.Atoi("0" + f.Canary)
	switch {
	case f.Reason == "":
		f.Fault = "Say why, for the record."
	case err != nil || canary > replay.Batch:
		f.Fault = "The canary is a number of events, up to 500."
	case filter.Until.IsZero():
		f.Fault = "Confirm once more."
	}
	if f.Fault != "" {
		c.Status(fiber.StatusUnprocessableEntity)
		return d.changeForm(c, f, filter)
	}
	ctx, cancel := context.WithTimeout(c.UserContext(), countPatience)
	defer cancel()
	if f.DeadCount, err = d.o.Sources.Dead.Count(ctx, filter, deadCounted); err != nil {
		return err
	}
	f.More = f.Matched == deadCounted
	action := &domain.Action{Actor: who, Reason: f.Reason, Filter: f.said()}
	id, err := d.beginChange(f, func(ctx context.Context, tell func(replay.Progress)) error {
		if f.Action == "discard" {
			return replay.DiscardAll(ctx, d.o.Sources.Dead, action, filter, tell)
		}
		letters := replay.Replay{
			Letters: d.o.Sources.Dead, Action: action, Filter: filter, Canary: canary, CanaryTimeout: canaryPatience,
			Unconfirmed: d.o.Sources.Unconfirmed,
		}
		return letters.Run(ctx, tell)
	})
	if err != nil {
		return err
	}
	return c.Redirect("./changes/"+strconv.Itoa(id), fiber.StatusSeeOther)
}

// said returns the filter as the person set it in the form, for the log of actions.
func (f *changeForm) said() map[string]string {
	said := f.deadQuery.said()
	if f.Canary != "" {
		said["canary"] = f.Canary
	}
	return said
}

// change shows the progress of a change.
func (d *Dashboard) change(c *fiber.Ctx) error {
	id, _ := strconv.Atoi(c.Params("id"))
	change, known := d.changes.find(id)
	if !known {
		return domain.Errorf(domain.CodeNotFound, "this process knows nothing of that change; the record of actions may")
	}
	p := Page{Template: "changing", Title: "Dead letters", Section: SectionDead, Data: change}
	if c.Get("HX-Request") != "" {
		return d.fragment(c, "progress", p)
	}
	return d.Render(c, p)
}
