// Package examine looks for conditions in the database that stop outboxd or are going to
// stop it: missing rights, wrong settings, blocked vacuum, a silent leader, and bad
// contents of outboxd's tables. outboxd doctor and the web pages show the result. It
// changes nothing. It does not look at Redis.
package examine
