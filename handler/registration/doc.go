// Package registration is the HTTP part of the example: an API that registers
// users, its description, and a page for trying it. outboxd itself does not need
// it.
package registration
