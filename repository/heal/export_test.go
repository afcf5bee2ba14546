package heal

import (
	"fmt"

	"outboxd/repository/stored"
)

// BackStatements returns the statements that put up to the given number of events back, with their parameters. ids has
// the IDs of these events as an array of PostgreSQL.
func BackStatements(events int, ids string) map[string][]any {
	return map[string][]any{
		"redrive": {
			fmt.Sprintf(redriveSQL, events), "00000000-0000-0000-0000-000000000000", "-infinity", 3600, "infinity", "{}", "", stored.LastID.String(), "{}", false, "relay", "a test",
		},
		"resend": {resendSQL, ids, "relay", "a test"},
	}
}
