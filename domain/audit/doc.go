// Package audit defines the checks of outboxd verify: each emitted event must have exactly one outcome.
package audit
