// Package terminal is how commands print: tables, JSON and YAML, colours, a screen
// that is drawn again and again. It knows nothing of what is printed.
package terminal
