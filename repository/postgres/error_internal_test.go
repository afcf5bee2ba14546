package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	shared "outboxd/client/outage"
	"outboxd/domain"
)

// A time limit of outboxd ends a statement, although the server answers.
func TestALateAnswerIsNotCalledAnOutage(t *testing.T) {
	t.Parallel()
	err := Translate(fmt.Errorf("timeout: %w", context.DeadlineExceeded), "measure the backlog")
	var known *domain.Error
	if !errors.As(err, &known) || known.Code != domain.CodeUnavailable || known.Message != "the database did not answer in time" {
		t.Errorf("it is %v", err)
	}
}

// An error that passes by itself is an outage: outboxd waits for its end,
// charges no event and goes on running. Other errors stay until somebody
// corrects their cause.
func TestOutagesAreToldFromFaults(t *testing.T) {
	t.Parallel()
	for code, outage := range map[string]bool{
		"08006": true, // connection failure
		"25006": true, // read-only
		"25P03": true, // idle-in-transaction timeout
		"25P04": true, // transaction timeout
		"40001": true, // serialization failure
		"40P01": true, // deadlock
		"53100": true, // disk full
		"53200": true, // out of memory
		"53300": true, // too many connections
		"55P03": true, // lock timeout
		"57014": true, // statement timeout
		"57P01": true, // terminated
		"57P02": true, // crashed
		"57P03": true, // starting
		"58030": true, // I/O error
		"XX000": true, // quota exceeded, among others

		"22P02": false, // invalid text
		"23503": false, // foreign key
		"42501": false, // no right
		"42601": false, // syntax
		"42P01": false, // no such table
		"XX001": false, // damaged data
	} {
		err := Translate(fmt.Errorf("claim: %w", &pgconn.PgError{Code: code}), "claim events")
		if got := domain.ErrorCode(err) == domain.CodeUnavailable; got != outage {
			t.Errorf("%s is an outage: %v, want %v", code, got, outage)
		}
		if got := shared.Is(err); got != outage {
			t.Errorf("%s is an outage for consumers: %v, want %v", code, got, outage)
		}
	}
	for name, c := range map[string]struct {
		err    error
		outage bool
	}{
		"nothing listens":   {&net.OpError{Op: "dial", Err: errors.New("connection refused")}, true},
		"it was cut":        {io.ErrUnexpectedEOF, true},
		"it ended":          {io.EOF, true},
		"it was closed":     {net.ErrClosed, true},
		"of the pool":       {driver.ErrBadConn, true},
		"it was given back": {sql.ErrConnDone, true},
		"pgx closed it":     {errors.New("conn closed"), true},
		"no time was left":  {context.DeadlineExceeded, true},
		"a plan of no use":  {&pgconn.PgError{Code: "0A000", Routine: "RevalidateCachedQuery", Message: "ein Plan"}, true},
		"no such feature":   {&pgconn.PgError{Code: "0A000", Routine: "ExecInitExpr"}, false},
		"no such statement": {&pgconn.PgError{Code: "26000"}, true},
		"the caller left":   {context.Canceled, false},
		"there is no row":   {sql.ErrNoRows, false},
		"it cannot be read": {errors.New("cannot scan"), false},
	} {
		err := fmt.Errorf("claim: %w", c.err)
		if ours, theirs := IsUnavailable(err), shared.Is(err); ours != c.outage || theirs != c.outage {
			t.Errorf("%s is an outage: %v, for consumers %v, want %v", name, ours, theirs, c.outage)
		}
	}
	if err := Translate(context.DeadlineExceeded, "claim events"); domain.ErrorCode(err) != domain.CodeUnavailable {
		t.Errorf("a timeout of ours: %v", err)
	}
	if err := Translate(context.Canceled, "claim events"); domain.ErrorCode(err) == domain.CodeUnavailable {
		t.Errorf("a caller who left: %v", err)
	}
}
