package stored_test

import (
	"testing"

	"outboxd/domain"
	"outboxd/repository/stored"
)

// Pieces follow one another without a gap and without an overlap. The zero ID is
// both "none yet" and an ID that a producer may have written.
func TestAPieceBeginsBehindTheOneBefore(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ after, want domain.ID }{
		{domain.ID{}, domain.ID{}},
		{domain.ID{15: 1}, domain.ID{15: 2}},
		{domain.ID{15: 0xff}, domain.ID{14: 1}},
		{domain.ID{0: 7, 14: 0xff, 15: 0xff}, domain.ID{0: 7, 13: 1}},
		{stored.LastID, stored.LastID},
	} {
		if got := domain.ID(stored.PieceStart(test.after)); got != test.want {
			t.Errorf("behind %s begins %s, want %s", test.after, got, test.want)
		}
	}
}
