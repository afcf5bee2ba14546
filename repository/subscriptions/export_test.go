package subscriptions

// ReplayRows is how many events one piece of a replay looks at.
const ReplayRows = replayRows
