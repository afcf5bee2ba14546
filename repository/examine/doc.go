// Package examine looks at the database for conditions that stop outboxd, or
// will: rights, settings, vacuum, the leader, and the contents of outboxd's
// tables. outboxd doctor and the pages show the result. It changes nothing. It
// does not look at Redis.
package examine
