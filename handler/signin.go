package handler

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"net/http"

	"github.com/gofiber/fiber/v2"
)

// pagePolicy is for the monitor's own pages, which have no scripts.
const pagePolicy = "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// pages are the monitor's own pages.
type pages struct {
	guard     *guard
	readiness *readiness
	version   string
	templates *template.Template
}

func newPages(g *guard, r *readiness, version string) *pages {
	return &pages{
		guard: g, readiness: r, version: version,
		templates: template.Must(template.ParseFS(assets, "assets/monitor/*.html")),
	}
}

func (p *pages) home(c *fiber.Ctx) error {
	return p.render(c, "home.html", map[string]any{
		"Readiness": p.readiness.look(), "Version": p.version,
		"SignedIn": granted(c) == accessWrite, "CanSignIn": p.guard.token != "",
	})
}

// signIn shows the form. Without an admin token there is nothing to sign in with.
func (p *pages) signIn(c *fiber.Ctx) error {
	if p.guard.token == "" {
		return problemf(http.StatusNotFound, "outboxd runs without an admin token, so there is nothing to sign in with")
	}
	return p.form(c, localPath(c.Query("next")), "")
}

func (p *pages) form(c *fiber.Ctx, next, fault string) error {
	return p.render(c, "signin.html", map[string]any{"Next": next, "Error": fault})
}

// openSession takes the form. The token itself is kept nowhere.
func (p *pages) openSession(c *fiber.Ctx) error {
	if p.guard.token == "" {
		return p.signIn(c)
	}
	if err := p.guard.sameOrigin(c); err != nil {
		return err
	}
	next := localPath(c.FormValue("next"))
	var wrong *Problem
	if err := p.guard.present(c, c.FormValue("token")); errors.As(err, &wrong) {
		for name := range wrong.headers {
			c.Set(name, wrong.headers.Get(name))
		}
		c.Status(wrong.Status)
		return p.form(c, next, wrong.Detail)
	}
	end := p.guard.now().Add(sessionLife)
	cookie := p.cookie(c)
	cookie.Value, cookie.Expires = p.guard.sessions.issue(end), end
	c.Cookie(cookie)
	return c.Redirect(next, http.StatusSeeOther)
}

// closeSession makes the browser forget its session.
func (p *pages) closeSession(c *fiber.Ctx) error {
	if err := p.guard.sameOrigin(c); err != nil {
		return err
	}
	cookie := p.cookie(c)
	cookie.MaxAge = -1
	c.Cookie(cookie)
	return c.Redirect("/", http.StatusSeeOther)
}

func (p *pages) cookie(c *fiber.Ctx) *fiber.Cookie {
	return &fiber.Cookie{
		Name: sessionCookie, Path: "/", HTTPOnly: true, SameSite: fiber.CookieSameSiteStrictMode,
		// Whoever lies in this header loses nothing but his own session.
		Secure: c.Secure() || c.Get(fiber.HeaderXForwardedProto) == "https",
	}
}

func (p *pages) render(c *fiber.Ctx, name string, data any) error {
	var page bytes.Buffer
	if err := p.templates.ExecuteTemplate(&page, name, data); err != nil {
		return fmt.Errorf("render %s: %w", name, err)
	}
	c.Set(fiber.HeaderContentSecurityPolicy, pagePolicy)
	c.Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
	return c.Send(page.Bytes())
}
