package shell

import (
	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/access"
	"outboxd/handler/dashboard/forms"
)

// Visitor is the person who opened a page.
type Visitor struct {
	access.Identity
	CanSignIn  bool // there is a way to sign in
	CanSignOut bool // the visitor has a session
}

// MayWrite reports whether the visitor may do at least one kind of change.
func (v Visitor) MayWrite() bool { return v.Role >= access.Operator }

// Lacks says in a sentence or two what the visitor lacks for one action, or for several.
func (v Visitor) Lacks(action string, more ...string) string {
	role := access.LeastRole(action).String()
	takes := "This takes the role " + role
	if len(more) > 0 {
		takes = "To " + action + " takes the role " + role
	}
	for _, other := range more {
		takes += ", to " + other + " the role " + access.LeastRole(other).String()
	}
	takes += "."
	switch {
	case v.Name != "":
		return takes + " " + v.Name + " has the role " + v.Role.String() + "."
	case v.CanSignIn:
		return takes + " Sign in first."
	default:
		return takes + " outboxd runs without a way to sign in."
	}
}

// Permit returns the name of the person who sent a form, for the record of the action.
// Permit checks the person's role once more, because the guard may have read another
// action: it reads the query of the address before the form. Errors:
// domain.CodeForbidden.
func (s *Shell) Permit(c *fiber.Ctx, action string) (who string, err error) {
	v := s.Visitor(c)
	if !v.May(action) {
		return "", domain.Errorf(domain.CodeForbidden, "this takes the role %s; %s has the role %s", access.LeastRole(action), v.Name, v.Role)
	}
	return v.Name, nil
}

// HiddenFrom returns which values are hidden from the visitor.
func (s *Shell) HiddenFrom(c *fiber.Ctx) forms.Hides {
	if s.Visitor(c).May(access.Unmask) {
		return func(string) bool { return false }
	}
	return s.Mask.Hides
}
