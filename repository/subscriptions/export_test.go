package subscriptions

// ReplayRows is how many events of each table one piece of a replay reads.
const ReplayRows = replayRows
