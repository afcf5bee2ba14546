package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/gofiber/fiber/v2"

	"outboxd/client"
	"outboxd/domain"
	"outboxd/domain/access"
	"outboxd/domain/lives"
	"outboxd/domain/words"
	"outboxd/handler/dashboard/forms"
	"outboxd/handler/dashboard/masking"
	"outboxd/handler/dashboard/shell"
	"outboxd/handler/dashboard/show"
)

// correctForm is a corrected copy of an event before it is emitted.
type correctForm struct {
	ID      domain.ID
	Copy    domain.ID // that the copy gets; a form that is sent twice emits one copy
	Life    *lives.Life
	Payload string
	JSON    bool   // the old payload is JSON, so the new one must be
	TooLong bool   // the text field of the page cannot hold the payload
	Hidden  bool   // the payload contains hidden values
	Discard bool   // the dead letter of the old event is discarded
	Limit   int    // Pages.PayloadLimit
	Fault   string // what is wrong with the form
	Reason  string
}

// IsCorrection reports whether a request's path is that of the form for a corrected copy.
func IsCorrection(path string) bool {
	id, of := strings.CutSuffix(path, "/correct")
	return of && strings.Contains(id, "/events/")
}

// correctable returns the form for correcting an event, with the payload as the pages show
// it.
func (p *Pages) correctable(c *fiber.Ctx) (f correctForm, err error) {
	if p.Current == nil || p.Corrections == nil {
		return f, shell.NoDatabase()
	}
	if f.ID, err = domain.EventID(c.Params("id")); err != nil {
		return f, err
	}
	if f.Life, err = p.Current.Find(c.UserContext(), f.ID); err != nil {
		return f, err
	}
	f.Copy = domain.ID(client.NewID())
	shown := p.Mask.Show(f.Life.Payload)
	f.Payload, f.JSON = shown.Text, shown.Form == "JSON"
	// A text field of a form would lose the invisible characters.
	f.TooLong = shown.Cut || shown.Withheld || shown.Form == "hexadecimal" || words.Visible(shown.Text) != shown.Text
	f.Hidden = !shown.Withheld && strings.Contains(shown.Text, masking.Hidden)
	f.Discard, f.Limit = f.Life.State == lives.StateDead, p.PayloadLimit
	return f, nil
}

// correct serves the form for a corrected copy of an event.
func (p *Pages) correct(c *fiber.Ctx) error {
	f, err := p.correctable(c)
	if err != nil {
		return err
	}
	return p.correctPage(c, &f)
}

func (p *Pages) correctPage(c *fiber.Ctx, f *correctForm) error {
	return p.Render(c, shell.Page{Template: "correct", Title: "Corrected copy", Section: shell.SectionEvents, Data: f})
}

// emittedBefore returns the copy that the form has emitted, if it is sent again; nil: it has emitted none.
func (p *Pages) emittedBefore(c *fiber.Ctx) (copied *lives.Life, err error) {
	text := c.FormValue("copy")
	if text == "" || p.Current == nil {
		return nil, nil
	}
	of, err := domain.EventID(c.Params("id"))
	if err != nil {
		return nil, err
	}
	id, err := domain.ParseID(text)
	if err != nil {
		return nil, err
	}
	copied, err = p.Current.Find(c.UserContext(), id)
	if domain.ErrorCode(err) == domain.CodeNotFound || err == nil && copied.Headers[domain.HeaderCorrects] != of.String() {
		return nil, nil
	}
	return copied, err
}

// isPayloadOf reports whether a form's payload is that of the copy. Hidden values count as those of the copy.
func (p *Pages) isPayloadOf(copied *lives.Life, payload []byte) bool {
	if whole, err := p.Mask.Unmask(payload, copied.Payload); err == nil && bytes.Contains(payload, []byte(masking.Hidden)) {
		payload = whole
	}
	return bytes.Equal(payload, copied.Payload)
}

// emitCorrected emits the corrected copy, and redirects to the page of the copy.
func (p *Pages) emitCorrected(c *fiber.Ctx) error {
	who, err := p.Permit(c, access.Correct)
	if err != nil {
		return err
	}
	before, err := p.emittedBefore(c)
	if err != nil {
		return err
	}
	payload, chosen, err := correctedPayload(c)
	if err != nil {
		return err
	}
	if before != nil && p.isPayloadOf(before, payload) {
		return c.Redirect("../"+before.ID.String(), fiber.StatusSeeOther)
	}
	f, err := p.correctable(c)
	if err != nil {
		return err
	}
	if f.Reason, err = forms.Reason(c.FormValue("reason")); err != nil {
		return err
	}
	f.Discard = f.Life.State == lives.StateDead && c.FormValue("discard") != ""
	f.Payload = string(payload)
	if before != nil {
		f.Fault = "This form has emitted event " + before.ID.String() + " already, with another payload. Emit once more for a second copy."
		c.Status(fiber.StatusConflict)
		return p.correctPage(c, &f)
	}
	if as := c.FormValue("copy"); as != "" {
		if f.Copy, err = domain.ParseID(as); err != nil {
			return err
		}
	}
	switch {
	case f.Hidden && f.JSON:
		payload, err = p.Mask.Unmask(payload, f.Life.Payload)
	case f.Hidden && bytes.Contains(payload, []byte(masking.Hidden)):
		err = domain.Errorf(domain.CodeInvalid, "The payload is text, so the hidden value (%s) cannot be filled in: write the value itself.", masking.Hidden)
	}
	switch {
	case f.Reason == "":
		f.Fault = "Say why, for the record."
	case f.TooLong && !chosen:
		f.Fault = "Choose a file with the corrected payload."
	case err != nil:
		f.Fault = err.Error()
	case f.JSON && !json.Valid(payload):
		f.Fault = "The payload is not JSON, as the old one is."
	}
	if f.Fault != "" {
		c.Status(fiber.StatusUnprocessableEntity)
		return p.correctPage(c, &f)
	}
	action := &domain.Action{Actor: who, Reason: f.Reason, Filter: map[string]string{"ids": f.ID.String()}}
	copied, err := p.Corrections.Correct(c.UserContext(), action, domain.Correction{Of: f.ID, As: f.Copy, Payload: payload, Discard: f.Discard})
	if known, is := errors.AsType[*domain.Error](err); is && known.Code == domain.CodeTooLarge {
		f.Fault = show.Capital(known.Message) + "."
		c.Status(fiber.StatusRequestEntityTooLarge)
		return p.correctPage(c, &f)
	}
	if err != nil {
		return err
	}
	return c.Redirect("../"+copied.String(), fiber.StatusSeeOther)
}

// correctedPayload returns the payload that the person sent: an uploaded file that is not
// empty, or else the text of the form. chosen says that it is a file. Browsers send the line
// breaks of a text as CR LF.
func correctedPayload(c *fiber.Ctx) (payload []byte, chosen bool, err error) {
	if file, err := c.FormFile("file"); err == nil && file.Size > 0 {
		opened, err := file.Open()
		if err != nil {
			return nil, true, domain.Wrap(domain.CodeInvalid, err, "the file cannot be read")
		}
		defer func() { _ = opened.Close() }()
		payload, err = io.ReadAll(opened)
		return payload, true, err
	}
	return []byte(strings.ReplaceAll(c.FormValue("payload"), "\r\n", "\n")), false, nil
}
