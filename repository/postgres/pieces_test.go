package postgres_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"outboxd/repository/postgres"
)

// A step that the server ends is tried again with fewer rows, and what is done stays done.
func TestPiecesGetSmallerUntilTheServerLetsThemEnd(t *testing.T) {
	t.Parallel()
	var tried []int
	left := 12_000
	err := postgres.InPieces(t.Context(), 50_000, func(rows int) (bool, error) {
		tried = append(tried, rows)
		if rows > 5_000 {
			return false, &pgconn.PgError{Code: "57014"}
		}
		left -= rows
		return left <= 0, nil
	})
	if want := []int{50_000, 12_500, 3_125, 3_125, 3_125, 3_125}; err != nil || !slices.Equal(tried, want) {
		t.Errorf("tried %v (%v), want %v", tried, err, want)
	}
}

// If the server ends even the smallest piece, the error names that as the cause, after a few
// attempts.
func TestPiecesThatNeverEnd(t *testing.T) {
	t.Parallel()
	ended := &pgconn.PgError{Code: "57014"}
	tries := 0
	err := postgres.InPieces(t.Context(), 50_000, func(int) (bool, error) { tries++; return false, ended })
	if !errors.Is(err, ended) || err.Error() == ended.Error() || tries > 20 {
		t.Errorf("%d tries, %v", tries, err)
	}
}
