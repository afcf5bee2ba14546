// Package audit is what outboxd verify counts: each event that was emitted is in
// exactly one place.
package audit
