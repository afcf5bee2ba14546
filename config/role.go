package config

import (
	"fmt"
	"slices"
	"strings"

	"outboxd/config/words"
)

// Role is one of the kinds of work that a process can do: serve the API, relay, work on
// tasks, or serve the monitor's pages.
type Role string

// The roles.
const (
	RoleAPI     Role = "api"
	RoleRelay   Role = "relay"
	RoleWorker  Role = "worker"
	RoleMonitor Role = "monitor"
)

// allRoles is the word for every role.
const allRoles = "all"

// AllRoles returns every role, in the order in which outboxd lists them.
func AllRoles() Roles { return Roles{RoleAPI, RoleRelay, RoleWorker, RoleMonitor} }

// Roles is a set of roles. They have the order of AllRoles.
type Roles []Role

// Has reports whether the set holds the role.
func (r Roles) Has(role Role) bool { return slices.Contains(r, role) }

// String returns the text that UnmarshalText reads: "all", or the roles separated by
// commas.
func (r Roles) String() string {
	if len(r) == len(AllRoles()) {
		return allRoles
	}
	names := make([]string, len(r))
	for i, role := range r {
		names[i] = string(role)
	}
	return strings.Join(names, ",")
}

// MarshalText returns String.
func (r Roles) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads "all", or role names separated by commas, in any order.
func (r *Roles) UnmarshalText(text []byte) error {
	var named Roles
	for _, name := range words.List(string(text)) {
		switch role := Role(name); {
		case name == allRoles:
			named = AllRoles()
		case AllRoles().Has(role):
			named = append(named, role)
		default:
			return fmt.Errorf("there is no role %s: give all, or some of api, relay, worker and monitor, with commas between", words.Quote(name))
		}
	}
	if len(named) == 0 {
		return fmt.Errorf("no role is named: give all, or some of api, relay, worker and monitor, with commas between")
	}
	*r = slices.DeleteFunc(AllRoles(), func(role Role) bool { return !named.Has(role) })
	return nil
}
