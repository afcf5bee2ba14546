package relay

// ReconcileRows is the size of the pages of a round.
const ReconcileRows = reconcileRows

// ReconcileRest is how long a round pauses after a page.
var ReconcileRest = reconcileRest
