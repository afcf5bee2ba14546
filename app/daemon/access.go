package daemon

import (
	"outboxd/config"
	"outboxd/config/address"
	"outboxd/domain/access"
	"outboxd/handler/signin"
)

// waysIn returns the configured ways in which people sign in to the pages:
// tokens, a proxy, an OpenID provider.
func waysIn(cfg *config.Config) signin.Ways {
	ways := signin.Ways{
		Address: cfg.Monitor.Addr, IsLoopback: address.IsLoopback, AdminToken: string(cfg.AdminToken),
		IdentityHeader: cfg.Access.IdentityHeader, IdentityRole: roleOf(cfg.Access.IdentityRole),
		OIDC: signin.OIDC{
			Issuer: cfg.OIDC.Issuer, ClientID: cfg.OIDC.ClientID, ClientSecret: string(cfg.OIDC.ClientSecret), RedirectURL: cfg.OIDC.RedirectURL,
			Scopes: cfg.OIDC.Scopes, NameClaim: cfg.OIDC.NameClaim, RoleClaim: cfg.OIDC.RoleClaim, Roles: map[string]access.Role{},
		},
	}
	for _, t := range cfg.Access.Tokens {
		ways.Tokens = append(ways.Tokens, access.Token{Identity: access.Identity{Name: t.Name, Role: roleOf(t.Role)}, Digest: t.Digest})
	}
	for value, role := range cfg.OIDC.Roles {
		ways.OIDC.Roles[value] = roleOf(role)
	}
	return ways
}

// roleOf returns the role called name; access.None if there is no such role.
func roleOf(name string) access.Role {
	role, err := access.ParseRole(name)
	if err != nil {
		return access.None
	}
	return role
}
