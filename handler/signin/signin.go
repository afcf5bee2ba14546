package signin

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain/access"
	"outboxd/handler"
	"outboxd/handler/dashboard/shell"
)

// The paths for signing in and out, relative to the first page. These paths are in the
// folder of the first page, so that cookies without a path are valid for all pages.
const (
	signInPath   = "signin"
	signOutPath  = "signout"
	providerPath = "openid"
	callbackPath = "callback"
)

// Ways are how people show who they are.
type Ways struct {
	// Address is the configured listen address. On a loopback address the users of this
	// machine can read the pages without signing in, unless their requests look like those of
	// a proxy.
	Address string
	// IsLoopback reports whether an address, with or without a port, means this
	// machine only. The guard calls IsLoopback with the listen address and with Host
	// headers.
	IsLoopback func(address string) bool
	// AdminToken gives a person the role admin; "": there is no such token.
	AdminToken string
	Tokens     []access.Token
	// IdentityHeader is the name of the header in which a trusted proxy names the
	// person; "": there is none.
	IdentityHeader string
	IdentityRole   access.Role
	OIDC           OIDC
}

// SignIn finds out who visits the pages, and serves the sign-in. Its methods are safe for
// concurrent use.
type SignIn struct {
	guard     *guard
	provider  *provider
	envelopes envelopes
	returns   *attempts // counts failed sign-ins by OpenID Connect
	logger    *slog.Logger
}

// New returns a SignIn. New does not contact the OpenID provider; the first sign-in
// does.
func New(w Ways, logger *slog.Logger) *SignIn {
	return &SignIn{newGuard(w), newProvider(w.OIDC), newEnvelopes(), newAttempts(), logger}
}

// Check calls the next handler if the sender of a request may do the action, and refuses
// the request otherwise. The action is access.See or a kind of action.
func (s *SignIn) Check(c *fiber.Ctx, action string) error { return s.guard.check(c, action) }

// Identity returns who made a request that passed Check. A user of this machine who has not
// signed in has no name.
func (s *SignIn) Identity(c *fiber.Ctx) access.Identity { return visitOf(c).Identity }

// Visitor returns who made a request, for the pages. The visitor is nobody if Check was not
// called, or if Check could not find out who made the request. A request that Check refused
// also has a visitor.
func (s *SignIn) Visitor(c *fiber.Ctx) shell.Visitor { return s.guard.visitor(c) }

// Routes adds the pages for signing in and out.
func (s *SignIn) Routes(app fiber.Router, pages *shell.Shell) {
	in := &signing{s, pages}
	app.Get("/"+signInPath, pages.Explain, in.signIn)
	app.Post("/"+signInPath, pages.Explain, in.openSession)
	app.Post("/"+signOutPath, pages.Explain, in.closeSession)
	app.Get("/"+providerPath, pages.Explain, in.leave)
	app.Get("/"+callbackPath, pages.Explain, in.comeBack)
}

// signing serves the pages for signing in and out.
type signing struct {
	*SignIn
	pages *shell.Shell
}

// signIn serves the sign-in page, with a form if people can sign in by token.
func (s *signing) signIn(c *fiber.Ctx) error {
	if !s.guard.canSignIn() {
		return handler.Problemf(http.StatusNotFound, "outboxd runs without tokens and OpenID provider, so there is nothing to sign in with")
	}
	return s.form(c, localPath(c.Query("next")), "")
}

// signInForm is the data of the sign-in page.
type signInForm struct {
	Next, Fault string
	HasTokens   bool
	Provider    string // the host name of the OpenID provider; "": there is none
}

func (s *signing) form(c *fiber.Ctx, next, fault string) error {
	return s.pages.Render(c, shell.Page{Template: "signin", Title: "Sign in", Data: signInForm{
		next, fault, len(s.guard.tokens) > 0, s.provider.host(),
	}})
}

// openSession handles the form of the sign-in page. openSession does not store the token.
func (s *signing) openSession(c *fiber.Ctx) error {
	if len(s.guard.tokens) == 0 {
		return s.signIn(c)
	}
	if err := s.guard.sameOrigin(c); err != nil {
		return err
	}
	next := localPath(c.FormValue("next"))
	who, err := s.guard.present(c, strings.TrimSpace(c.FormValue("token")))
	if wrong, ok := errors.AsType[*handler.Problem](err); ok {
		for name := range wrong.GetHeaders() {
			c.Set(name, wrong.GetHeaders().Get(name))
		}
		c.Status(wrong.Status)
		return s.form(c, next, wrong.Detail)
	}
	if err != nil {
		return err
	}
	return s.welcome(c, who, next)
}

// welcome begins the session of a person who has signed in, and redirects to the page that
// the person wanted.
func (s *signing) welcome(c *fiber.Ctx, who access.Identity, next string) error {
	s.logger.InfoContext(c.UserContext(), "a person has signed in", "who", who.Name, "role", who.Role.String())
	end := s.guard.now().Add(sessionLife)
	setCookie(c, sessionCookie, s.guard.sessions.issue(who, end), end)
	return c.Redirect("."+next, http.StatusSeeOther) // relative, because a proxy may add a prefix
}

// closeSession signs a person out. It ends the session and deletes the browser's cookie.
func (s *signing) closeSession(c *fiber.Ctx) error {
	if err := s.guard.sameOrigin(c); err != nil {
		return err
	}
	s.guard.sessions.end(c.Cookies(sessionCookie), s.guard.now())
	setCookie(c, sessionCookie, "", time.Unix(1, 0))
	return c.Redirect("./", http.StatusSeeOther)
}

// setCookie sends a cookie without a path. The browser then sends the cookie to all pages
// in the folder of the page that set it. All pages are in that folder, also below the
// prefix of a proxy.
//
// Because of SameSite=Lax, links from other sites open pages with the cookie, for example links in
// alerts and in the answer of an OpenID provider. That is safe, because no GET request changes
// anything, except those that sign a person in. With any other request from another site the browser
// does not send this cookie, and sameOrigin refuses such a request too if it could change something.
func setCookie(c *fiber.Ctx, name, value string, end time.Time) {
	cookie := http.Cookie{ //nolint:gosec // over plain HTTP, as on a loopback address, a secure cookie would never come back
		Name: name, Value: value, Expires: end, HttpOnly: true, SameSite: http.SameSiteLaxMode,
		// If a client sends a false header, that affects only its own session.
		Secure: c.Secure() || c.Get(fiber.HeaderXForwardedProto) == "https",
	}
	c.Response().Header.Add(fiber.HeaderSetCookie, cookie.String()) // fiber's own method would add a path
}

const maxName = 200 // bytes

// isName reports whether a text may be a person's name. isName refuses the name of the
// admin token, and characters with which somebody could pose as another person in the log
// of actions.
func isName(name string) bool {
	return name != "" && name == strings.TrimSpace(name) && name != adminTokenName && len(name) <= maxName && utf8.ValidString(name) &&
		!strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) })
}
