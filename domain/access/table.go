package access

import "outboxd/domain"

// The things that people do on the pages and that are not recorded as actions.
const (
	See    = "see"    // look at pages, with the values of secret names masked
	Unmask = "unmask" // look at payloads as they are
)

// The kinds of recorded actions that domain does not name.
const (
	Replay     = "replay"
	Redrive    = "redrive"
	Reschedule = "reschedule"
	Discard    = "discard"
	Cancel     = "cancel"
	Correct    = "correct"
	Erase      = "erase"
	Apply      = "apply"
	Remove     = "remove"
)

// Rule says which role an action requires.
type Rule struct {
	Action string
	Role   Role
	Means  string // what the action does, for the table in the guide
}

// Table lists what people do on the pages, with the role that each action requires. An action that
// can be undone or repeated requires the role operator. An action that loses something for good,
// shows secret values, emits a payload of a person's choice, or changes what outboxd has been set
// up to do, requires the role admin.
func Table() []Rule {
	return []Rule{
		{See, Viewer, "look at all pages, with secret values masked"},
		{domain.ActionRetry, Operator, "retry failing events now, or stop a running task so that it is tried again"},
		{domain.ActionGiveUp, Operator, "give failing events up: they become dead letters"},
		{Replay, Operator, "replay dead letters, or older events to a subscription"},
		{Redrive, Operator, "send events again that Redis may have lost"},
		{Reschedule, Operator, "move events to another time"},
		{domain.ActionPause, Operator, "pause queues, subscriptions and schedules"},
		{domain.ActionResume, Operator, "resume them"},
		{Unmask, Admin, "see payloads in Asynqmon as they are, and payloads that are no text, and choose events by masked values"},
		{Discard, Admin, "discard dead letters, or delete tasks"},
		{Cancel, Admin, "cancel events"},
		{Erase, Admin, "erase events"},
		{Correct, Admin, "emit a corrected copy of an event, with any payload"},
		{Apply, Admin, "add and change subscriptions and schedules"},
		{Remove, Admin, "remove subscriptions and schedules, or delete a queue"},
	}
}

// LeastRole returns the lowest role that may do an action. An unknown action requires an admin.
func LeastRole(action string) Role {
	for _, rule := range Table() {
		if rule.Action == action {
			return rule.Role
		}
	}
	return Admin
}
