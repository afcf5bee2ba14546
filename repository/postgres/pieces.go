package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Work that grows with the amount of data is done in pieces. Each piece is a statement
// that reads a bounded number of rows. A piece therefore ends before any reasonable
// timeout, and does not hold back vacuum or other sessions for long.
const (
	LargestPiece  = 50_000
	smallestPiece = 1_000
	// patientPieces is how often in a row the smallest piece may fail, because the server
	// may be busy only for a moment.
	patientPieces = 5
)

// InPieces calls the function step until it returns true. The parameter rows is how many
// rows a step may read at first. If the server ended a step because it took too long, the
// step has changed nothing. InPieces then calls the function with a quarter of the rows,
// but with at least smallestPiece rows, and keeps the smaller number for the steps that
// follow. If the smallest piece fails more than patientPieces times in a row, InPieces
// returns an error.
func InPieces(ctx context.Context, rows int, step func(rows int) (done bool, err error)) error {
	for failed := 0; ; {
		done, err := step(rows)
		switch {
		case err == nil && done:
			return nil
		case err == nil:
			failed = 0
		case SQLState(err) != Cancelled || ctx.Err() != nil:
			return err
		case rows <= smallestPiece && failed < patientPieces:
			failed++
		case rows <= smallestPiece:
			return fmt.Errorf("%w, even one of %d rows: %w", errTooLong, rows, err)
		default:
			rows = max(rows/4, smallestPiece)
		}
	}
}

// Trim deletes up to limit rows that are older than the given age, and returns how many
// it deleted. It uses one statement, or more and smaller ones if the server ends a
// statement because it takes too long. The statement must have two parameters: the age in
// seconds, and the largest number of rows to delete. The text doing says in an error what
// was tried.
//
// Errors: domain.CodeUnavailable if the database cannot be reached.
func (d *Database) Trim(ctx context.Context, doing, statement string, age time.Duration, limit int) (total int64, err error) {
	err = InPieces(ctx, limit, func(rows int) (done bool, err error) {
		rows = min(rows, limit-int(total))
		result, err := d.sql.ExecContext(ctx, statement, age.Seconds(), rows)
		if err != nil {
			return false, err
		}
		n, err := result.RowsAffected()
		total += n
		return n < int64(rows) || total >= int64(limit), err
	})
	return total, Translate(err, doing)
}

// errTooLong is the error if the server ended even the smallest piece because it took too
// long. An operator has to allow statements more time.
var errTooLong = errors.New("the server ends statements that take long")

// Cancelled is the SQLSTATE of a statement that the server ended because of a timeout, or
// because an operator asked for it.
const Cancelled = "57014"
