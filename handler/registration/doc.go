// Package registration is the HTTP side of the example: an API that registers
// users, its description, and a page to try it. The core does not need it.
package registration
