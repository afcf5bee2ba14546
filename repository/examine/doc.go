// Package examine looks at the database for what stops outboxd, or will: rights,
// settings, vacuum, the leader, and what lies in outboxd's tables. outboxd doctor
// shows it, and so do the pages. It changes nothing. What Redis has to do with it
// is not examined here.
package examine
