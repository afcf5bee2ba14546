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
	deadCounted    = 10_000 // counting stops there

	// The limits for a submitted form. The page itself sends far less.
	maxChosen = 500 // dead letters
	maxReason = 2000
	maxActor  = 800
)

// changeForm is a change of dead letters (replay or discard) that the visitor has
// not confirmed yet.
type changeForm struct {
	Action, Type, Error, Until string
	IDs                        []string
	Matched                    int64
	More                       bool // than Matched
	Fault                      string
	Reason, Actor, Canary      string
}

// readChange reads which dead letters the form chooses. readChange refuses a form
// that chooses all of them.
func readChange(values url.Values) (changeForm, domain.DeadFilter, error) {
	f := changeForm{
		Action: values.Get("action"), Type: values.Get("type"), Error: values.Get("error"), Until: values.Get("until"), IDs: values["id"],
		Reason: strings.TrimSpace(values.Get("reason")), Actor: strings.TrimSpace(values.Get("actor")), Canary: values.Get("canary"),
	}
	filter := domain.DeadFilter{Type: f.Type, ErrorForm: f.Error}
	if f.Action != "replay" && f.Action != "discard" {
		return f, filter, domain.Errorf(domain.CodeInvalid, "dead letters are replayed or discarded")
	}
	if len(f.IDs) > maxChosen || len(f.Reason) > maxReason || len(f.Actor) > maxActor {
		return f, filter, domain.Errorf(domain.CodeInvalid, "that is too much for one form: choose up to %d dead letters, and be brief about the reason", maxChosen)
	}
	for _, text := range f.IDs {
		id, err := domain.EventID(text)
		if err != nil {
			return f, filter, err
		}
		filter.IDs = append(filter.IDs, id)
	}
	if len(filter.IDs) == 0 && f.Type == "" {
		return f, filter, domain.Errorf(domain.CodeInvalid, "choose a group or single dead letters first")
	}
	if f.Until != "" {
		until, err := time.Parse(time.RFC3339Nano, f.Until)
		if err != nil {
			return f, filter, domain.Errorf(domain.CodeInvalid, "the form is damaged: load it again")
		}
		filter.Until = until
	}
	return f, filter, nil
}

// confirmChange asks for a reason, and says how many dead letters the change
// covers. It does not cover events that die later.
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
	matched, now, err := d.o.Sources.Dead.Count(ctx, filter, deadCounted)
	if err != nil {
		return err
	}
	f.Matched, f.More = matched, matched == deadCounted
	if f.Until == "" {
		f.Until = now.UTC().Format(time.RFC3339Nano)
	}
	return d.Render(c, Page{Template: "change", Title: "Confirm", Section: SectionDead, Data: f})
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
	action := &domain.Action{Actor: f.Actor, Reason: f.Reason, Filter: f.said()}
	if action.Actor == "" {
		action.Actor = "dashboard"
	}
	id, err := d.changes.begin(f, func(ctx context.Context, tell func(replay.Progress)) error {
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

// said returns the filter of the form, for the log of actions.
func (f *changeForm) said() map[string]string {
	said := map[string]string{}
	for name, value := range map[string]string{"type": f.Type, "error-form": f.Error, "ids": strings.Join(f.IDs, " "), "canary": f.Canary} {
		if value != "" {
			said[name] = value
		}
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
