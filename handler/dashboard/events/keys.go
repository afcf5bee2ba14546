package events

import (
	"context"
	"html/template"
	"net/url"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain/lives"
	"outboxd/handler/dashboard/shell"
	"outboxd/handler/dashboard/show"
)

// keysShown is how many ordering keys the page lists.
const keysShown = 100

// HeldKeys finds the ordering keys that hold events back.
type HeldKeys interface {
	// List returns up to limit ordering keys that hold events back: only the named keys, or
	// all keys if the list of names is nil. The keys whose events have waited longest come
	// first. The result complete is false if not all of these keys were looked at. Errors:
	// domain.CodeUnavailable.
	List(ctx context.Context, named []string, limit int) (keys []lives.HeldKey, complete bool, err error)
}

// keysPage lists ordering keys that hold events back.
type keysPage struct {
	Key  string // the key that the visitor asked for; "": all keys
	Keys []keyLine
	More bool
	At   time.Time
}

type keyLine struct {
	lives.HeldKey
	Reason string
	Events template.URL // the query of the key's events
}

// keys serves the page that lists the ordering keys that hold events back, and says why.
func (p *Pages) keys(c *fiber.Ctx) error {
	if p.Keys == nil {
		return shell.NoDatabase()
	}
	page := keysPage{Key: show.Typed(c.Query("key")), At: time.Now()}
	var named []string
	if page.Key != "" {
		named = []string{page.Key}
	}
	list, complete, err := p.Keys.List(c.UserContext(), named, keysShown)
	if err != nil {
		return err
	}
	page.More = !complete || len(list) == keysShown
	for i := range list {
		page.Keys = append(page.Keys, keyLine{list[i], list[i].Holds(page.At), show.Encoded(url.Values{"key": {list[i].Key}})})
	}
	return p.Render(c, shell.Page{Template: "keys", Title: "Keys", Section: shell.SectionKeys, Data: page})
}
