package stored

import (
	"slices"
	"strings"

	"outboxd/domain/lives"
)

// Place is a table that has events. An event is normally in one table at a time. It may be
// in several if it was replayed, or if a producer wrote it more than once. The table
// determines the event's state. The fields have SQL expressions that say since when and why
// an event is in the table.
type Place struct {
	state lives.State
	table string
	since string // the column that says since when; in the outbox, when the event is due
	stage string // which stage gave the event up
	fault string // its last error, or the one that it died of; for a cancelled event, by whom and why
	rival string // the ID of the task that took its place
}

const (
	noText    = "''"
	lastError = "coalesce(last_error, '')"
)

// Places has all tables that have events. An event in the history is in flight, or confirmed
// if the inbox has its ID.
var Places = PlaceList{
	{lives.StatePending, "outbox", "available_at", noText, lastError, noText},
	{lives.StateHeld, "outbox_held", "held_at", noText, lastError, noText},
	{lives.StateInFlight, "outbox_sent", "sent_at", noText, lastError, noText},
	{lives.StateDead, "outbox_dead", "died_at", "stage", "error", noText},
	{lives.StateSuppressed, "outbox_suppressed", "suppressed_at", noText, lastError, "holder"},
	{lives.StateCancelled, "outbox_cancelled", "cancelled_at", noText, "detail", noText},
}

// PlaceList is some of the places.
type PlaceList []Place

// Only returns those places whose tables have events in the given states.
func (p PlaceList) Only(states ...lives.State) PlaceList {
	return slices.DeleteFunc(slices.Clone(p), func(at Place) bool { return !slices.Contains(states, at.state) })
}

// Each builds SQL from a text for one table: it repeats the text for each place,
// separated by sep. In the text, Each replaces {table}, {state} (a string literal) and
// the expressions {since}, {stage}, {error} and {rival} by the values of the place.
func (p PlaceList) Each(text, sep string) string {
	list := make([]string, len(p))
	for i, at := range p {
		list[i] = strings.NewReplacer("{table}", at.table, "{state}", "'"+string(at.state)+"'", "{since}", at.since,
			"{stage}", at.stage, "{error}", at.fault, "{rival}", at.rival).Replace(text)
	}
	return strings.Join(list, sep)
}

// Union builds one query of all places: it repeats the text for each place, joined by
// UNION ALL. The text is a SELECT that must return the same columns for every place.
func (p PlaceList) Union(text string) string { return p.Each(text, "\n    UNION ALL ") }

// Have returns an SQL condition that is true if the event with the ID is in a table of one
// of the places. id is an SQL expression. The condition of Have looks into an index at most
// once for each table and each partition of the history.
func (p PlaceList) Have(id string) string {
	return "(" + p.Each("EXISTS (SELECT FROM {table} e WHERE e.id = "+id+")", " OR ") + ")"
}

// Lack returns an SQL condition that is true if none of the tables has the event with the ID. Unlike NOT Have, it is
// for statements that read many IDs: each of its subqueries returns one value, so that the planner cannot read a whole
// table into a hash.
func (p PlaceList) Lack(id string) string {
	return "(" + p.Each("(SELECT e.id FROM {table} e WHERE e.id = "+id+" LIMIT 1) IS NULL", " AND ") + ")"
}

// Table returns the table of a state. It panics if none of the places has the state.
func (p PlaceList) Table(state lives.State) string { return p.Only(state)[0].table }
