package lost

// DatabaseIdentity tells whether a database may have gone back to an earlier state, because a standby without the
// last commits took over, or a backup was restored. A field is empty if the server does not report it.
type DatabaseIdentity struct {
	SystemID string // of the cluster; a new cluster has a new one
	Timeline string // every promotion and every point-in-time recovery begins a new one
}

// Change compares i with an earlier identity. Change returns in a few words why the database may have gone back to
// an earlier state, and "" if there is no sign of that. Empty fields are not compared.
func (i DatabaseIdentity) Change(known DatabaseIdentity) string {
	differ := func(a, b string) bool { return a != "" && b != "" && a != b }
	switch {
	case differ(i.SystemID, known.SystemID):
		return DatabaseOther
	case differ(i.Timeline, known.Timeline):
		return TimelineOther
	default:
		return ""
	}
}

// Over returns the identity i with its empty fields filled from an earlier identity.
func (i DatabaseIdentity) Over(known DatabaseIdentity) DatabaseIdentity {
	if i.SystemID == "" {
		i.SystemID = known.SystemID
	}
	if i.Timeline == "" {
		i.Timeline = known.Timeline
	}
	return i
}
