package repositorytest

import (
	"time"

	"outboxd/domain"
	"outboxd/repository/examine"
)

// Healthy returns Options with which a database of Attended has no findings on a
// healthy server.
func Healthy() examine.Options {
	return examine.Options{Conns: 4, SnapshotAge: time.Hour, KeyAge: time.Hour, SlotBytes: 1 << 40, Now: time.Now}
}

// Text returns the text of the finding with the given code, or "" if there is no such
// finding.
func Text(found []domain.Finding, code string) string {
	for _, f := range found {
		if f.Code == code {
			return f.String()
		}
	}
	return ""
}
