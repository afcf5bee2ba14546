// Package search reads events for the pages and the commands: the search, the life
// of one event, overviews and their history, held keys, and the account that
// outboxd verify checks. It changes nothing. Package examine looks for what
// endangers events.
package search
