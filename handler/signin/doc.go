// Package signin finds out who makes a request to the pages, and refuses what that person
// may not do. The ways to sign in are tokens, a proxy's header and OpenID Connect.
package signin
