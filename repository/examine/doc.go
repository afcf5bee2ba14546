// Package examine looks for conditions in the database that stop outboxd or are going to
// stop it: missing rights, wrong settings, blocked vacuum, a silent leader, and bad
// contents of outboxd's tables. outboxd doctor, outboxd top, /readyz and the web pages show
// the result. Package examine changes nothing, and does not look at Redis.
package examine
