// Package signin finds out who makes a request to the pages, and refuses what that
// person may not do. It has the ways to sign in: tokens, a proxy's header and
// OpenID Connect.
package signin
