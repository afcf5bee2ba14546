package access

import "fmt"

// Role is what a person may do. Each role may do everything that the roles before it
// may do.
type Role int

// The roles. The zero value may do nothing.
const (
	None     Role = iota
	Viewer        // reads the pages
	Operator      // also does what can be undone or repeated
	Admin         // also does what cannot be undone
)

// String returns the name of the role, as the configuration has it.
func (r Role) String() string {
	switch r {
	case Viewer:
		return "viewer"
	case Operator:
		return "operator"
	case Admin:
		return "admin"
	default:
		return "none"
	}
}

// ParseRole reads the name of a role. It refuses the name "none".
func ParseRole(name string) (Role, error) {
	for _, r := range Roles() {
		if r.String() == name {
			return r, nil
		}
	}
	return None, fmt.Errorf("%.40q is no role: the roles are viewer, operator and admin", name)
}

// Roles are all roles that a person can have, the least one first.
func Roles() []Role { return []Role{Viewer, Operator, Admin} }

// Identity is the name and the role of a person.
type Identity struct {
	// Name is the name with which the person's actions are recorded. The name comes from the
	// configuration, from a proxy or from an OpenID provider, or is that of the admin token. It never
	// comes from a form. "" for somebody who has not signed in.
	Name string
	Role Role
}

// May reports whether a person may do something: See, Unmask, or a kind of recorded action.
func (i Identity) May(action string) bool { return i.Role >= LeastRole(action) }
