// Package access says who may do what: the roles of people, the role that each
// action requires, and the tokens by which people show who they are.
package access
