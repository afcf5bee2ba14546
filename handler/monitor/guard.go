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

// access is what a request to the pages may do.
type access int

const (
	accessNone access = iota
	accessRead
	accessWrite
)

type accessKey struct{}

// guard decides who may see and use the pages, which show payloads and so
// personal data.
//
//   - Writing needs the admin token: as a bearer token, or as the session that
//     the sign-in page gives for it. A session may write only from a page of
//     this server.
//   - Reading needs the same. The exception is a monitor on a loopback address
//     that is called by a loopback name and without a proxy. The name matters
//     because any web site can point a name of its own at 127.0.0.1 and let its
//     visitors' browsers read the answer.
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

// check lets a request pass with its access in the locals, or refuses it.
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

// visitor returns the visitor of a request, for the pages.
func (g *guard) visitor(c *fiber.Ctx) dashboard.Visitor {
	return dashboard.Visitor{MayWrite: granted(c) == accessWrite, CanSignIn: g.token != ""}
}

// access returns what a request may do, and whether a session cookie grants it.
// Browsers send cookies also with requests that other sites cause.
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

// present checks an offered token.
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

// isLocal reports whether a request certainly comes from a user of this
// machine. A proxy on this machine shows itself by the headers that it adds.
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

// refuse returns an error that says what to do instead. A browser that asks for
// a page is sent to sign in.
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
// browser takes two slashes, or a slash and a backslash, for another server.
func localPath(target string) string {
	u, err := url.Parse(target)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(target, "/") ||
		strings.HasPrefix(target, "//") || strings.ContainsAny(target, "\\\r\n\t") {
		return "/"
	}
	return target
}
