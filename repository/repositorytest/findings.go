package repositorytest

import (
	"time"

	"outboxd/domain"
	"outboxd/repository/examine"
)

// Healthy are options under which a fresh database has nothing to be found.
func Healthy() examine.Options {
	return examine.Options{Conns: 4, SnapshotAge: time.Hour, KeyAge: time.Hour, SlotBytes: 1 << 40, Now: time.Now}
}

// Text returns the finding of a code, all of it; "" if there is none.
func Text(found []domain.Finding, code string) string {
	for _, f := range found {
		if f.Code == code {
			return f.String()
		}
	}
	return ""
}
