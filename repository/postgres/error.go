package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"gorm.io/gorm"

	"outboxd/domain"
)

// Translate gives err a domain code and adds what was tried. It returns nil,
// domain errors and a caller's own cancellation unchanged.
func Translate(err error, doing string) error {
	var known *domain.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return err
	case SQLState(err) == TooEarly:
		return fmt.Errorf("%s: %w: %w", doing, domain.ErrTooEarly, err)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", doing, err)
	case errors.Is(err, sql.ErrNoRows), errors.Is(err, gorm.ErrRecordNotFound):
		return domain.Wrap(domain.CodeNotFound, fmt.Errorf("%s: %w", doing, err), "not found")
	case errors.Is(err, gorm.ErrDuplicatedKey), SQLState(err) == "23505":
		return domain.Wrap(domain.CodeConflict, fmt.Errorf("%s: %w", doing, err), "already exists")
	case SQLState(err) == "22P05" || SQLState(err) == "22021": // has no equivalent, is not in the encoding
		return domain.Wrap(domain.CodeInvalid, fmt.Errorf("%s: %w", doing, err), "a text has a character that cannot be stored in this database's encoding")
	case isForeignStatement(err):
		return fmt.Errorf("%s: %w; %s", doing, err, noPreparedStatements)
	case IsUnavailable(err) && !errors.Is(err, errTooLong):
		return domain.Wrap(domain.CodeUnavailable, fmt.Errorf("%s: %w", doing, err), "the database is unavailable")
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}

// TranslateWork is Translate for work that a relay or a worker repeats. If the
// server refuses such work, that is an outage until an operator mends it, and
// no fault of an event.
func TranslateWork(err error, doing string) error {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return Translate(err, doing)
	}
	var cure string
	switch {
	case pg.Routine == "check_enable_rls":
		cure = "ALTER ROLE … BYPASSRLS for the role that outboxd connects as (outboxd doctor names it), or ALTER TABLE … DISABLE ROW LEVEL SECURITY"
	case pg.Code == "42501":
		cure = "run deploy/postgres/grants.sql, or GRANT what is missing to the role that outboxd connects as"
	case pg.Code == "55000" && pg.Routine == "CheckCmdReplicaIdentity":
		cure = "give the table a REPLICA IDENTITY, or take it out of the publication"
	default:
		return Translate(err, doing)
	}
	return domain.Wrap(domain.CodeUnavailable, fmt.Errorf("%s: %w", doing, err), "the database does not let outboxd work: "+pg.Message+"; "+cure)
}

// SQLState returns the SQLSTATE of an error of the server; "" for any other
// error.
func SQLState(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code
	}
	return ""
}

// readOnly is the SQLSTATE of a write on a read-only server.
const readOnly = "25006"

// TooEarly is the SQLSTATE with which the trigger outbox_confirming refuses an
// event whose turn it is not.
const TooEarly = "OB001"

// IsUnavailable reports whether the same statement may succeed later: the
// server is gone, shutting down, full, read-only, or gave up waiting for a
// lock. See PostgreSQL's appendix A for the classes.
func IsUnavailable(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		state := pg.Code
		switch {
		case strings.HasPrefix(state, "08"), // connection exception
			strings.HasPrefix(state, "53"), // insufficient resources
			strings.HasPrefix(state, "57"), // operator intervention
			strings.HasPrefix(state, "58"), // system error
			strings.HasPrefix(state, "40"): // deadlock, serialization
			return true
		}
		switch state {
		case readOnly, // a standby, or a primary that was demoted
			"25P03", "25P04", // idle-in-transaction and transaction timeout
			"55P03",          // lock not available
			"XX000",          // also reported for a disk quota or a limit of file size
			"28000", "28P01": // refused by pg_hba.conf or for the password: somebody is changing them
			return true
		}
		return isStale(pg)
	}
	return IsConnectionLost(err) || errors.Is(err, context.DeadlineExceeded)
}

// isStale reports whether a prepared statement of the session has become
// useless: a table that it reads has changed, or the statement was discarded.
// pgx prepares it again for the next use. It does not compare messages, which
// may be in another language.
func isStale(pg *pgconn.PgError) bool {
	return pg.Code == "0A000" && pg.Routine == "RevalidateCachedQuery" || pg.Code == "26000"
}

// IsStaleError is isStale for any error.
func IsStaleError(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && isStale(pg)
}

// IsConnectionLost reports whether the connection failed and not the statement.
// If COMMIT was not sent yet, nothing of the transaction has happened.
func IsConnectionLost(err error) bool {
	switch SQLState(err) {
	case "57P01", "57P02", "57P03", "25P03", "25P04": // shut down, crashed, starting, timed out
		return true
	}
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) ||
		errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) ||
		err != nil && strings.HasSuffix(err.Error(), "conn closed")
}

// IsFleeting reports whether the statement should be repeated at once: it lost
// against another transaction, which has ended.
func IsFleeting(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case !ok:
		return false
	case pg.Code == "40001", pg.Code == "40P01": // serialization, deadlock
		return true
	case isStale(pg):
		return true
	default:
		// A partition was made while a row was on its way into the default
		// partition. PostgreSQL reports that as a CHECK without a name, and
		// ours all have names.
		return pg.Code == "23514" && pg.ConstraintName == ""
	}
}

// isMisconfigured reports whether a first connection can never succeed with
// this configuration.
func isMisconfigured(err error) bool {
	switch SQLState(err) {
	case "28000", "28P01", "3D000", "3F000", "42501":
		return true
	}
	return false
}
