package shell

import (
	"slices"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain/access"
)

// Router adds pages to an app. Each page is behind a check of what the visitor may do.
type Router struct {
	shell *Shell
	app   fiber.Router
}

// Router returns the Router of an app, and adds the files that the pages load to the app.
func (s *Shell) Router(app fiber.Router) Router {
	s.files.Serve(app)
	return Router{s, app}
}

// Get adds a page that changes nothing.
func (r Router) Get(path string, page fiber.Handler) {
	r.app.Get(path, r.shell.Explain, r.shell.Guard(access.See), page)
}

// Post adds the route to which a form is sent. The visitor must be allowed to do the action
// that the form's field action names. If the field names none of the given actions, the visitor
// must be allowed to do the first one. After the page, even after an error, Post calls Wrote.
func (r Router) Post(path string, page fiber.Handler, actions ...string) {
	r.app.Post(path, r.shell.Explain, func(c *fiber.Ctx) error {
		if chosen := c.FormValue("action"); slices.Contains(actions, chosen) {
			return r.shell.Check(c, chosen)
		}
		return r.shell.Check(c, actions[0])
	}, func(c *fiber.Ctx) error {
		err := page(c)
		r.shell.Wrote(c.UserContext())
		return err
	})
}

// Guard returns a handler that refuses visitors who may not do the action.
func (s *Shell) Guard(action string) fiber.Handler {
	return func(c *fiber.Ctx) error { return s.Check(c, action) }
}
