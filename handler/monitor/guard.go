package monitor

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/handler"
	"outboxd/handler/dashboard"
)

// access is what a request to the pages may do: nothing, read, or write.
type access int

const (
	accessNone access = iota
	accessRead
	accessWrite
)

type accessKey struct{}

// guard decides who may read the pages and who may change things on them. A guard
// is needed because the pages show payloads, which may contain personal data.
//
//   - Writing needs the admin token, as a bearer token, or a session that the
//     sign-in page opened for the token. With a session only a page of this server
//     may write.
//   - Reading needs the same. There is one exception: a monitor on a loopback
//     address, if the request comes without a proxy and its Host is a loopback
//     name. The Host matters because any web site can let its own name point to
//     127.0.0.1, and its visitors' browsers would then read the pages for it.
//   - Without an admin token nobody can write, and nobody can read over a
//     network.
type guard struct {
	token    string
	loopback bool // the monitor's own address
	local    func(address string) bool
	sessions *sessions
	attempts *attempts
	origins  *http.CrossOriginProtection
	now      func() time.Time
}

func newGuard(token, address string, local func(string) bool) *guard {
	return &guard{
		token: token, loopback: local(address), local: local, sessions: newSessions(), attempts: newAttempts(),
		origins: http.NewCrossOriginProtection(), now: time.Now,
	}
}

// check stores in Fiber's locals what a request may do, and lets it pass, or
// refuses the request.
func (g *guard) check(c *fiber.Ctx) error {
	granted, session, err := g.access(c)
	if err != nil {
		return err
	}
	write := !handler.IsSafe(c.Method())
	switch {
	case write && granted == accessWrite && session:
		if err := g.sameOrigin(c); err != nil {
			return err
		}
	case write && granted < accessWrite, granted == accessNone:
		return g.refuse(c, write)
	}
	c.Locals(accessKey{}, granted)
	return c.Next()
}

func granted(c *fiber.Ctx) access {
	a, _ := c.Locals(accessKey{}).(access)
	return a
}

// visitor returns what the pages need to know about the sender of a request.
func (g *guard) visitor(c *fiber.Ctx) dashboard.Visitor {
	return dashboard.Visitor{MayWrite: granted(c) == accessWrite, CanSignIn: g.token != ""}
}

// access returns what a request may do, and whether a session cookie grants that.
// The caller needs to know, because browsers also send cookies with requests that
// other sites cause.
func (g *guard) access(c *fiber.Ctx) (granted access, session bool, err error) {
	if g.token != "" {
		if token, ok := bearerToken(c); ok {
			if err := g.present(c, token); err != nil {
				return accessNone, false, err
			}
			return accessWrite, false, nil
		}
		if g.sessions.valid(c.Cookies(sessionCookie), g.now()) {
			return accessWrite, true, nil
		}
	}
	if g.isLocal(c) {
		return accessRead, false, nil
	}
	return accessNone, false, nil
}

func bearerToken(c *fiber.Ctx) (string, bool) {
	scheme, token, ok := strings.Cut(c.Get(fiber.HeaderAuthorization), " ")
	return strings.TrimSpace(token), ok && strings.EqualFold(scheme, "bearer")
}

// present returns an error unless the token is the admin token.
func (g *guard) present(c *fiber.Ctx, token string) error {
	client := handler.LimitKey(handler.ClientOf(c))
	if wait := g.attempts.wait(client, g.now()); wait > 0 {
		return handler.Problemf(http.StatusTooManyRequests, "too many wrong tokens came from this address").
			With(fiber.HeaderRetryAfter, handler.RetryAfter(wait))
	}
	if !sameToken(token, g.token) {
		g.attempts.failed(client, g.now())
		return unauthorized("the admin token is wrong")
	}
	return nil
}

func unauthorized(detail string) error {
	return handler.ProblemOf(domain.Errorf(domain.CodeUnauthorized, "%s", detail)).
		With(fiber.HeaderWWWAuthenticate, `Bearer realm="outboxd"`)
}

// isLocal reports whether a request certainly comes from a user of this machine.
// isLocal recognises a proxy on this machine by the headers that a proxy adds.
func (g *guard) isLocal(c *fiber.Ctx) bool {
	for _, header := range []string{"Forwarded", fiber.HeaderXForwardedFor, fiber.HeaderXForwardedHost, "X-Real-Ip"} {
		if c.Get(header) != "" {
			return false
		}
	}
	return g.loopback && g.local(string(c.Request().Host()))
}

func (g *guard) sameOrigin(c *fiber.Ctx) error {
	header := http.Header{}
	for _, name := range []string{"Sec-Fetch-Site", fiber.HeaderOrigin} {
		if value := c.Get(name); value != "" {
			header.Set(name, value)
		}
	}
	request := &http.Request{Method: c.Method(), Host: string(c.Request().Host()), Header: header, URL: &url.URL{Path: c.Path()}}
	if err := g.origins.Check(request); err != nil {
		return domain.Wrap(domain.CodeForbidden, err, "another site caused this request")
	}
	return nil
}

// refuse returns the error for a request that may not pass; it says what to do. If
// a browser asks for a page, refuse redirects it to the sign-in page.
func (g *guard) refuse(c *fiber.Ctx, write bool) error {
	switch {
	case g.token == "" && write:
		return domain.Errorf(domain.CodeForbidden, "this page is read-only: outboxd runs without an admin token")
	case g.token == "" && g.loopback:
		return handler.Problemf(http.StatusMisdirectedRequest, "without an admin token this page can only be read on the machine itself, at http://localhost")
	case g.token == "":
		return domain.Errorf(domain.CodeForbidden, "this page cannot be read over a network: outboxd runs without an admin token")
	case !write && c.Accepts(fiber.MIMEApplicationJSON, fiber.MIMETextHTML) == fiber.MIMETextHTML:
		return c.Redirect(dashboard.Root(c.Path())+"signin?next="+url.QueryEscape(localPath(c.OriginalURL())), http.StatusSeeOther)
	default:
		return unauthorized("sign in at /signin, or send the admin token as a bearer token")
	}
}

// localPath returns target if it is a path on this server, and / otherwise. A
// target that begins with two slashes, or with a slash and a backslash, is not such
// a path: a browser would go to another server.
func localPath(target string) string {
	u, err := url.Parse(target)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(target, "/") ||
		strings.HasPrefix(target, "//") || strings.ContainsAny(target, "\\\r\n\t") {
		return "/"
	}
	return target
}
