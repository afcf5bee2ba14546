// Package recall takes events back before they take effect, and moves them to
// another time, for people. What services call in their own transactions is in
// migrations/00006_taking_back.sql, where it is argued why an event that was
// cancelled cannot take effect.
package recall
