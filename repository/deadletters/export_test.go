package deadletters

import (
	"time"

	"outboxd/domain"
)

// PageStatements returns the statements with which the pages read dead letters, with
// their parameters.
func PageStatements() map[string][]any {
	return map[string][]any{
		"dead groups":   append([]any{deadGroupsSQL}, append(deadArgs(domain.DeadFilter{}), 10_000, maxGroups)...),
		"values":        append([]any{valuesSQL}, valuesArgs(domain.DeadFilter{}, []string{"a"}, 10_000)...),
		"a sample":      append([]any{sampleSQL}, append(deadArgs(domain.DeadFilter{}), sampled, sampledBytes)...),
		"a small group": append([]any{listDeadSQL}, append(deadArgs(domain.DeadFilter{Type: "test:a", ErrorForm: "none"}), time.Time{}, [16]byte{}, 50)...),
		"actions":       {actionsSQL, 20, nil},
	}
}
