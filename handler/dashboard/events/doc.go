// Package events has the pages about events: the search, the page of one event, its corrected copy, the cancellation
// of many, failing events, and ordering keys that hold events back. Dead events have pages of their own, in package dead.
package events
