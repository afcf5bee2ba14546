package relay

// The size of the pages of a round, and the inverse of its share of the time.
const (
	ReconcileRows  = reconcileRows
	ReconcileShare = reconcileShare
)
