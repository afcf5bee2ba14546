package signin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"

	"outboxd/domain"
	"outboxd/domain/access"
)

// providerPatience bounds each request to the OpenID provider.
const providerPatience = 10 * time.Second

// OIDC says how people sign in by OpenID Connect. Without an Issuer, people cannot sign in
// this way.
type OIDC struct {
	Issuer       string
	ClientID     string
	ClientSecret string // "": a public client
	RedirectURL  string // "": made from the address of the request
	Scopes       []string
	NameClaim    string
	RoleClaim    string // dots lead into nested objects
	// Roles are the roles for the values of RoleClaim. The role for * is for everybody.
	Roles map[string]access.Role
}

// provider is an OpenID provider. outboxd asks the provider for its addresses when the
// first person signs in. outboxd does not ask at its start, so that it can start while the
// provider is down.
type provider struct {
	o      OIDC
	client *http.Client

	asking singleflight.Group
	known  atomic.Pointer[oidc.Provider]
}

func newProvider(o OIDC) *provider {
	return &provider{o: o, client: &http.Client{Timeout: providerPatience, Transport: bounded{http.DefaultTransport}}}
}

// host returns the provider's host name, which the sign-in page shows; "" if there
// is no provider.
func (p *provider) host() string {
	u, err := url.Parse(p.o.Issuer)
	if err != nil {
		return ""
	}
	return u.Host
}

func (p *provider) discover(ctx context.Context) (*oidc.Provider, error) {
	if known := p.known.Load(); known != nil {
		return known, nil
	}
	found, err, _ := p.asking.Do("", func() (any, error) {
		// Several people may wait for this answer, so the context of one person's
		// request must not end it; the HTTP client's timeout ends it.
		return oidc.NewProvider(context.WithoutCancel(ctx), p.o.Issuer)
	})
	if err != nil {
		return nil, domain.Wrap(domain.CodeUnavailable, err, "the OpenID provider cannot be used at the moment")
	}
	p.known.Store(found.(*oidc.Provider))
	return found.(*oidc.Provider), nil
}

// config returns the configuration of the OAuth client. redirect is the address to
// which the provider sends people back.
func (p *provider) config(found *oidc.Provider, redirect string) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.o.ClientID, ClientSecret: p.o.ClientSecret, Endpoint: found.Endpoint(), RedirectURL: redirect, Scopes: p.o.Scopes,
	}
}

// address returns the provider's address at which a person signs in.
func (p *provider) address(ctx context.Context, t *trip) (string, error) {
	found, err := p.discover(oidc.ClientContext(ctx, p.client))
	if err != nil {
		return "", err
	}
	return p.config(found, t.Redirect).AuthCodeURL(t.State, oidc.Nonce(t.Nonce), oauth2.S256ChallengeOption(t.Verifier)), nil
}

// identify exchanges the provider's code for the identity of the person who signed
// in.
func (p *provider) identify(ctx context.Context, t *trip, code string) (access.Identity, error) {
	ctx = oidc.ClientContext(ctx, p.client)
	found, err := p.discover(ctx)
	if err != nil {
		return access.Identity{}, err
	}
	token, err := p.config(found, t.Redirect).Exchange(ctx, code, oauth2.VerifierOption(t.Verifier))
	if err != nil {
		if _, refused := errors.AsType[*oauth2.RetrieveError](err); refused {
			return access.Identity{}, domain.Wrap(domain.CodeUnauthorized, err, "the OpenID provider does not accept its own answer: sign in again")
		}
		return access.Identity{}, domain.Wrap(domain.CodeUnavailable, err, "the OpenID provider cannot be used at the moment")
	}
	claims, err := p.claims(ctx, found, token, t.Nonce)
	if err != nil {
		return access.Identity{}, err
	}
	return p.person(claims)
}

// claims returns what the provider says of the person: the claims of the ID token and, if
// needed claims are missing there, also the claims of the provider's user info.
func (p *provider) claims(ctx context.Context, found *oidc.Provider, token *oauth2.Token, nonce string) (claims, error) {
	raw, _ := token.Extra("id_token").(string)
	verified, err := found.Verifier(&oidc.Config{ClientID: p.o.ClientID}).Verify(ctx, raw)
	if err != nil {
		return nil, domain.Wrap(domain.CodeUnauthorized, err, "the OpenID provider's answer cannot be trusted: sign in again")
	}
	if verified.Nonce != nonce {
		return nil, domain.Errorf(domain.CodeUnauthorized, "the OpenID provider's answer belongs to another sign-in: sign in again")
	}
	own := claims{}
	if err := verified.Claims(&own); err != nil {
		return nil, fmt.Errorf("read the claims of an ID token: %w", err)
	}
	if p.suffice(own) || found.UserInfoEndpoint() == "" {
		return own, nil
	}
	info, err := found.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return nil, domain.Wrap(domain.CodeUnavailable, err, "the OpenID provider does not say who you are")
	}
	if info.Subject != verified.Subject {
		return nil, domain.Errorf(domain.CodeUnauthorized, "the ID token and the user info of the OpenID provider name two different people: sign in again")
	}
	more := claims{}
	if err := info.Claims(&more); err != nil {
		return nil, fmt.Errorf("read the claims of the user info: %w", err)
	}
	own.add(more)
	return own, nil
}

// suffice reports whether the claims of an ID token have all that outboxd needs to know of
// a person. Some providers say only in the user info whether a mail address is verified.
func (p *provider) suffice(c claims) bool {
	return c.has(p.o.NameClaim) && c.has(p.o.RoleClaim) && (p.o.NameClaim != emailClaim || c.has(verifiedClaim))
}

// person returns the name and the role of the person whom the claims describe.
func (p *provider) person(c claims) (access.Identity, error) {
	name, _ := c.find(p.o.NameClaim).(string)
	switch {
	case !isName(name):
		return access.Identity{}, domain.Errorf(domain.CodeForbidden, "the OpenID provider gives no usable name in the claim %s; the option oidc.name_claim names another one", p.o.NameClaim)
	case p.o.NameClaim == emailClaim && c.deniesEmail():
		return access.Identity{}, domain.Errorf(domain.CodeForbidden, "the OpenID provider has not verified the address %s", name)
	}
	role := p.o.Roles["*"]
	for _, value := range c.values(p.o.RoleClaim) {
		if value != "*" {
			role = max(role, p.o.Roles[value])
		}
	}
	if role == access.None {
		return access.Identity{}, domain.Errorf(domain.CodeForbidden, "%s has no role here: the option oidc.roles gives one to values of the claim %s", name, p.o.RoleClaim)
	}
	return access.Identity{Name: name, Role: role}, nil
}

// The claims with a person's mail address, and whether the provider has verified it.
const (
	emailClaim    = "email"
	verifiedClaim = "email_verified"
)

// claims are what an OpenID provider says of a person.
type claims map[string]any

// add adds those claims of the user info that the ID token does not have. If the two have
// different mail addresses, a verification in the user info does not count for the ID
// token's address.
func (c claims) add(info claims) {
	if c.has(emailClaim) && info.has(emailClaim) && c[emailClaim] != info[emailClaim] && info.has(verifiedClaim) {
		info[verifiedClaim] = false
	}
	for name, value := range info {
		if _, signed := c[name]; !signed {
			c[name] = value
		}
	}
}

// find returns the value of a claim; nil if there is none. Dots in name belong to the
// claim's name, or lead into nested objects.
func (c claims) find(name string) any {
	if value, ok := c[name]; ok {
		return value
	}
	first, rest, nested := strings.Cut(name, ".")
	if inner, ok := c[first].(map[string]any); ok && nested {
		return claims(inner).find(rest)
	}
	return nil
}

func (c claims) has(name string) bool { return c.find(name) != nil }

// values returns the values of a claim: its text, or all texts of its list.
func (c claims) values(name string) (texts []string) {
	switch value := c.find(name).(type) {
	case string:
		return []string{value}
	case []any:
		for _, entry := range value {
			if text, ok := entry.(string); ok {
				texts = append(texts, text)
			}
		}
	}
	return texts
}

// deniesEmail reports whether the provider says that the person's mail address is not
// verified. Some providers write true as a text.
func (c claims) deniesEmail() bool {
	verified, said := c[verifiedClaim]
	return said && verified != true && verified != "true"
}
