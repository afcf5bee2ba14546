package stored

import (
	"slices"
	"strings"

	"outboxd/domain"
)

// Place is a table that holds events. An event is in one table at a time, which
// determines its state. The fields are the SQL expressions for since when and
// why it is there.
type Place struct {
	state domain.EventState
	table string
	since string // the column that says since when; in the outbox, when the event is due
	stage string // which stage gave the event up
	fault string // its last error, or the one that it died of
	rival string // the ID of the task that took its place
}

const (
	noText    = "''"
	lastError = "coalesce(last_error, '')"
)

// Places are all tables that hold events, in the order of an event's way. An event in the
// history is in flight, or confirmed if the inbox has it.
var Places = PlaceList{
	{domain.StatePending, "outbox", "available_at", noText, lastError, noText},
	{domain.StateHeld, "outbox_held", "held_at", noText, lastError, noText},
	{domain.StateInFlight, "outbox_sent", "sent_at", noText, lastError, noText},
	{domain.StateDead, "outbox_dead", "died_at", "stage", "error", noText},
	{domain.StateSuppressed, "outbox_suppressed", "suppressed_at", noText, lastError, "holder"},
	{domain.StateCancelled, "outbox_cancelled", "cancelled_at", noText, "detail", noText},
}

// PlaceList is some of the places.
type PlaceList []Place

// Only returns the places of events in these states.
func (p PlaceList) Only(states ...domain.EventState) PlaceList {
	return slices.DeleteFunc(slices.Clone(p), func(at Place) bool { return !slices.Contains(states, at.state) })
}

// Each returns the text once for each place, with sep in between. In the text,
// {table}, {state} (a literal) and the expressions {since}, {stage}, {error} and
// {rival} are replaced by those of the place.
func (p PlaceList) Each(text, sep string) string {
	list := make([]string, len(p))
	for i, at := range p {
		list[i] = strings.NewReplacer("{table}", at.table, "{state}", "'"+string(at.state)+"'", "{since}", at.since,
			"{stage}", at.stage, "{error}", at.fault, "{rival}", at.rival).Replace(text)
	}
	return strings.Join(list, sep)
}

// Union returns Each joined by UNION ALL. The text must select the same columns
// for every place.
func (p PlaceList) Union(text string) string { return p.Each(text, "\n    UNION ALL ") }

// Have returns a condition that is true if one of the places has the event with the ID, an
// expression. It costs one look into an index for each place and partition of the history.
func (p PlaceList) Have(id string) string {
	return "(" + p.Each("EXISTS (SELECT FROM {table} e WHERE e.id = "+id+")", " OR ") + ")"
}

// Table returns the table of a state.
func (p PlaceList) Table(state domain.EventState) string { return p.Only(state)[0].table }
