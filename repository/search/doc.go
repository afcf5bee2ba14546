// Package search reads what the pages and the commands show of events: the search
// and the life of one event, overviews and their history, held keys, and the
// account that outboxd verify checks. It changes nothing. What endangers events is
// looked for in examine.
package search
