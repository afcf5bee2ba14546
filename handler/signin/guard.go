package signin

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/access"
	"outboxd/handler"
	"outboxd/handler/dashboard/shell"
)

// adminTokenName is the name under which the actions of a person with Ways.AdminToken are
// recorded. A token in Ways.Tokens cannot have this name.
const adminTokenName = "admin token"

// visit says who makes a request, and how the guard knows the person: by a token, a
// session or a proxy's header.
type visit struct {
	access.Identity
	by by
}

// by is how people have shown who they are.
type by int

const (
	byNothing by = iota // nobody, or a user of this machine
	byToken
	bySession
	byProxy
)

// isAmbient reports whether the browser adds the proof of who the person is by itself
// (a cookie or a proxy's header), even to requests that another site causes.
func (b by) isAmbient() bool { return b == bySession || b == byProxy }

type visitKey struct{}

// guard decides who may see and use the pages, which show payloads and so personal data.
// access.Table decides what each role may do.
//
//   - A person is known by a bearer token, by the session that the sign-in page
//     gives, or by the header of a trusted proxy. With the last two, the guard refuses
//     changes that a browser sends for a page of another site.
//   - A user of this machine may also read without signing in; see isLocal.
//   - Without any way to sign in nobody can change anything, and nobody can read
//     over a network.
type guard struct {
	ways     Ways
	tokens   []access.Token
	loopback bool // the monitor's own address
	proxied  bool // the OpenID redirect URL shows that a proxy leads to the monitor
	sessions *sessions
	attempts *attempts
	origins  *http.CrossOriginProtection
	now      func() time.Time
}

func newGuard(w Ways) *guard {
	tokens := w.Tokens
	if w.AdminToken != "" {
		tokens = append([]access.Token{{
			Identity: access.Identity{Name: adminTokenName, Role: access.Admin}, Digest: access.DigestOf(w.AdminToken),
		}}, tokens...)
	}
	return &guard{
		ways: w, tokens: tokens, loopback: w.IsLoopback(w.Address), proxied: w.leadsElsewhere(), sessions: newSessions(), attempts: newAttempts(),
		origins: http.NewCrossOriginProtection(), now: time.Now,
	}
}

// canSignIn reports whether people can sign in on the sign-in page, by token or by OpenID
// Connect.
func (g *guard) canSignIn() bool { return len(g.tokens) > 0 || g.ways.OIDC.Issuer != "" }

// knowsPeople reports whether there is any way to learn the name of a person.
func (g *guard) knowsPeople() bool { return g.canSignIn() || g.ways.IdentityHeader != "" }

// check lets a request pass or refuses it, and stores the sender in the request's locals
// for later handlers. If the method visit fails, nothing is stored.
func (g *guard) check(c *fiber.Ctx, action string) error {
	v, err := g.visit(c)
	if err != nil {
		return err
	}
	c.Locals(visitKey{}, v) // before a refusal, because the page about the refusal needs the visit too
	if !v.May(action) {
		return g.refuse(c, v, action)
	}
	if !handler.IsSafe(c.Method()) && v.by.isAmbient() {
		if err := g.sameOrigin(c); err != nil {
			return err
		}
	}
	return c.Next()
}

func visitOf(c *fiber.Ctx) visit {
	v, _ := c.Locals(visitKey{}).(visit)
	return v
}

// visitor returns the visitor of a request, for the pages.
func (g *guard) visitor(c *fiber.Ctx) shell.Visitor {
	v := visitOf(c)
	return shell.Visitor{Identity: v.Identity, CanSignIn: g.canSignIn(), CanSignOut: v.by == bySession}
}

// visit finds out who makes a request.
func (g *guard) visit(c *fiber.Ctx) (visit, error) {
	if len(g.tokens) > 0 {
		if token, ok := bearerToken(c); ok {
			who, err := g.present(c, token)
			return visit{who, byToken}, err
		}
	}
	if g.canSignIn() {
		if who, ok := g.sessions.holder(c.Cookies(sessionCookie), g.now()); ok {
			return visit{who, bySession}, nil
		}
	}
	if who, ok, err := g.named(c); ok || err != nil {
		return visit{who, byProxy}, err
	}
	if g.isLocal(c) {
		return visit{Identity: access.Identity{Role: access.Viewer}}, nil
	}
	return visit{}, nil
}

func bearerToken(c *fiber.Ctx) (string, bool) {
	scheme, token, ok := strings.Cut(c.Get(fiber.HeaderAuthorization), " ")
	return strings.TrimSpace(token), ok && strings.EqualFold(scheme, "bearer")
}

// present returns the person to whom a token belongs. A client that sent too many wrong
// tokens has to wait.
func (g *guard) present(c *fiber.Ctx, token string) (access.Identity, error) {
	client := handler.LimitKey(handler.ClientOf(c))
	if wait := g.attempts.wait(client, g.now()); wait > 0 {
		return access.Identity{}, handler.Problemf(http.StatusTooManyRequests, "too many wrong tokens came from this address").
			With(fiber.HeaderRetryAfter, handler.RetryAfter(wait))
	}
	who, known := access.Find(g.tokens, token)
	if !known {
		g.attempts.failed(client, g.now())
		return access.Identity{}, unauthorized("the token is wrong")
	}
	return who, nil
}

// named returns the person whom a trusted proxy names in the identity header; ok is false
// if no trusted proxy names anybody, or if isName refuses the name.
func (g *guard) named(c *fiber.Ctx) (who access.Identity, ok bool, err error) {
	if !g.namesPeople(c) {
		return access.Identity{}, false, nil
	}
	values := c.Request().Header.PeekAll(g.ways.IdentityHeader)
	switch len(values) {
	case 0:
		return access.Identity{}, false, nil
	case 1:
		name := strings.TrimSpace(string(values[0]))
		return access.Identity{Name: name, Role: g.ways.IdentityRole}, isName(name), nil
	default:
		return access.Identity{}, false, domain.Errorf(domain.CodeForbidden, "the header %s came more than once: let the proxy remove the one that its client sent", g.ways.IdentityHeader)
	}
}

func unauthorized(detail string) error {
	return handler.ProblemOf(domain.Errorf(domain.CodeUnauthorized, "%s", detail)).
		With(fiber.HeaderWWWAuthenticate, `Bearer realm="outboxd"`)
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

// refuse answers a request that may not pass. Its error says what to do instead. If people
// can sign in, refuse redirects a browser to the sign-in page. After the sign-in the
// browser comes back.
func (g *guard) refuse(c *fiber.Ctx, v visit, action string) error {
	write := !handler.IsSafe(c.Method())
	switch {
	case v.Name != "":
		return domain.Errorf(domain.CodeForbidden, "this takes the role %s; %s has the role %s", access.LeastRole(action), v.Name, v.Role)
	case !g.knowsPeople() && v.Role >= access.Viewer:
		return domain.Errorf(domain.CodeForbidden, "this page is read-only: outboxd runs without a way to sign in")
	case !g.knowsPeople() && g.loopback && !write:
		return handler.Problemf(http.StatusMisdirectedRequest, "without a way to sign in this page can only be read on the machine itself, at http://localhost and without a proxy")
	case !g.knowsPeople():
		return domain.Errorf(domain.CodeForbidden, "this page cannot be used over a network: outboxd runs without a way to sign in")
	case !g.canSignIn():
		return domain.Errorf(domain.CodeForbidden, "the proxy in front of outboxd named nobody")
	case c.Accepts(fiber.MIMEApplicationJSON, fiber.MIMETextHTML) == fiber.MIMETextHTML:
		return c.Redirect(shell.Root(c.Path())+signInPath+"?next="+url.QueryEscape(backTo(c)), http.StatusSeeOther)
	default:
		return unauthorized(fmt.Sprintf("this takes the role %s: sign in at /%s, or send a token as a bearer token", access.LeastRole(action), signInPath))
	}
}

// backTo returns the address of the page that a person wants to see after signing in. That
// is the page that the request asked for, or the page whose form was sent.
func backTo(c *fiber.Ctx) string {
	if handler.IsSafe(c.Method()) {
		return localPath(c.OriginalURL())
	}
	from, err := url.Parse(c.Get(fiber.HeaderReferer))
	if err != nil || from.Host != string(c.Request().Host()) {
		return "/"
	}
	// A proxy may have added a prefix, which the address of the form shows.
	return localPath(strings.TrimPrefix(from.RequestURI(), prefixOf(from.Path, c.Path())))
}

// prefixOf returns the prefix that a proxy added to a path; "" if there is none. The
// parameter form is the path of the page that sent the form. The prefix is the part of form
// before the first folder of path.
func prefixOf(form, path string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if at := strings.Index(form, "/"+first+"/"); at > 0 {
		return form[:at]
	}
	return ""
}

// localPath returns target if it is a path on this server, and / otherwise. Two
// slashes at the beginning, or a slash and a backslash, would lead a browser to
// another server.
func localPath(target string) string {
	u, err := url.Parse(target)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(target, "/") ||
		strings.HasPrefix(target, "//") || strings.ContainsAny(target, "\\\r\n\t") {
		return "/"
	}
	return target
}
