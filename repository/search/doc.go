// Package search reads events for the web pages and the commands: the search, the life of
// one event, overviews and their history, the figures of types and queues, the held
// ordering keys, and the account that outboxd verify checks. It changes nothing. Package
// examine looks for conditions that endanger events.
package search
