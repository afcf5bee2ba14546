package monitor

import (
	"errors"
	"net/http"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/handler"
	"outboxd/handler/dashboard"
)

// signing serves the pages for signing in and out.
type signing struct {
	guard *guard
	pages *dashboard.Dashboard
}

// signIn shows the form. If no admin token is configured, nobody can sign in.
func (s *signing) signIn(c *fiber.Ctx) error {
	if s.guard.token == "" {
		return handler.Problemf(http.StatusNotFound, "outboxd runs without an admin token, so there is nothing to sign in with")
	}
	return s.form(c, localPath(c.Query("next")), "")
}

// signInForm is the data of the sign-in page.
type signInForm struct{ Next, Error string }

func (s *signing) form(c *fiber.Ctx, next, fault string) error {
	return s.pages.Render(c, dashboard.Page{Template: "signin", Title: "Sign in", Data: signInForm{next, fault}})
}

// openSession handles the submitted sign-in form. openSession does not store the
// token.
func (s *signing) openSession(c *fiber.Ctx) error {
	if s.guard.token == "" {
		return s.signIn(c)
	}
	if err := s.guard.sameOrigin(c); err != nil {
		return err
	}
	next := localPath(c.FormValue("next"))
	var wrong *handler.Problem
	if err := s.guard.present(c, c.FormValue("token")); errors.As(err, &wrong) {
		for name := range wrong.GetHeaders() {
			c.Set(name, wrong.GetHeaders().Get(name))
		}
		c.Status(wrong.Status)
		return s.form(c, next, wrong.Detail)
	}
	end := s.guard.now().Add(sessionLife)
	setCookie(c, s.guard.sessions.issue(end), end)
	return c.Redirect("."+next, http.StatusSeeOther) // relative to /signin, because a proxy may add a prefix
}

// closeSession ends the session, and makes the browser delete its cookie.
func (s *signing) closeSession(c *fiber.Ctx) error {
	if err := s.guard.sameOrigin(c); err != nil {
		return err
	}
	s.guard.sessions.end(c.Cookies(sessionCookie), s.guard.now())
	setCookie(c, "", time.Unix(1, 0))
	return c.Redirect("./", http.StatusSeeOther)
}

// setCookie sends the session's cookie without a path. The browser then uses the
// folder of the page that sent the cookie. All pages are in that folder, even if a
// proxy puts them below a prefix.
func setCookie(c *fiber.Ctx, value string, end time.Time) {
	cookie := http.Cookie{ //nolint:gosec // over plain HTTP, as on a loopback address, a secure cookie would never come back
		Name: sessionCookie, Value: value, Expires: end, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		// Trust this header from anybody: a false one only affects the sender's own
		// session.
		Secure: c.Secure() || c.Get(fiber.HeaderXForwardedProto) == "https",
	}
	c.Response().Header.Add(fiber.HeaderSetCookie, cookie.String()) // fiber's own would add a path
}
