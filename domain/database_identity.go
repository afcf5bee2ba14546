package domain

// DatabaseIdentity is what tells whether a database is still the one that it was,
// or one that has gone back to an earlier state: a standby that did not have the
// last commits, or a restored backup. A field is empty where the server does not
// tell.
type DatabaseIdentity struct {
	SystemID string // of the cluster; made anew when a cluster is
	Timeline string // made anew by every promotion, and by a recovery to a point in time
}

// Change says in a few words why the database that is now i may have gone back
// since it was known; "" if nothing speaks for that. What either of them
// does not tell is no evidence.
func (i DatabaseIdentity) Change(known DatabaseIdentity) string {
	differ := func(a, b string) bool { return a != "" && b != "" && a != b }
	switch {
	case differ(i.SystemID, known.SystemID):
		return "PostgreSQL is another cluster: it was restored from a dump, or moved"
	case differ(i.Timeline, known.Timeline):
		return "PostgreSQL is on another timeline: a standby took over, or it was recovered to a point in time"
	default:
		return ""
	}
}

// Over returns i with what it does not tell taken from known.
func (i DatabaseIdentity) Over(known DatabaseIdentity) DatabaseIdentity {
	if i.SystemID == "" {
		i.SystemID = known.SystemID
	}
	if i.Timeline == "" {
		i.Timeline = known.Timeline
	}
	return i
}
