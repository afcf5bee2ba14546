package stored

import (
	"slices"
	"strings"

	"outboxd/domain"
)

// Place is a table in which events are. An event is in one at a time, and that
// is its state: the one expression of where an event is, since when and why.
type Place struct {
	state domain.EventState
	table string
	since string // the column that says since when; in the outbox from when on it is due
	stage string // which stage gave it up
	fault string // its last error or what it died of
	rival string // the ID of the task that stands for it
}

const (
	noText    = "''"
	lastError = "coalesce(last_error, '')"
)

// Places are all tables in which events are, in the order of an event's way. What the history
// has is in flight or, if the inbox knows it, confirmed.
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

// Only are the places of events in these states.
func (p PlaceList) Only(states ...domain.EventState) PlaceList {
	return slices.DeleteFunc(slices.Clone(p), func(at Place) bool { return !slices.Contains(states, at.state) })
}

// Each is the text for each of the places, with sep between. In it stand, for
// the place's own, {table} and {state} (a literal), and the expressions {since},
// {stage}, {error} and {rival}.
func (p PlaceList) Each(text, sep string) string {
	list := make([]string, len(p))
	for i, at := range p {
		list[i] = strings.NewReplacer("{table}", at.table, "{state}", "'"+string(at.state)+"'", "{since}", at.since,
			"{stage}", at.stage, "{error}", at.fault, "{rival}", at.rival).Replace(text)
	}
	return strings.Join(list, sep)
}

// Union are the rows of all of the places, which each gives in the same columns.
func (p PlaceList) Union(text string) string { return p.Each(text, "\n    UNION ALL ") }

// Have is true where one of the places has the event of that ID, an expression. It is one look into
// an index for each place, and partition of the history.
func (p PlaceList) Have(id string) string {
	return "(" + p.Each("EXISTS (SELECT FROM {table} e WHERE e.id = "+id+")", " OR ") + ")"
}

// Table is the table of the one place.
func (p PlaceList) Table(state domain.EventState) string { return p.Only(state)[0].table }
