// Package terminal prints the output of commands: tables, JSON and YAML, colours,
// and a screen that is drawn repeatedly. The package knows nothing of the contents.
package terminal
