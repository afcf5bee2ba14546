// Package dead has the pages about dead letters: their groups and values, the list, the export, and the form that
// replays or discards them.
package dead
