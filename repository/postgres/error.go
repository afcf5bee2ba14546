package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
	"gorm.io/gorm"

	"outboxd/client/outage"
	"outboxd/domain"
)

// Translate adds to err the text doing, which says what was tried. It also gives err a domain code if it knows
// one: CodeNotFound, CodeConflict, CodeInvalid or CodeUnavailable. Other errors, such as the caller's own
// cancellation, get no code. Translate returns nil and a domain error unchanged.
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
	case isLate(err):
		return domain.Wrap(domain.CodeUnavailable, fmt.Errorf("%s: %w", doing, err), "the database did not answer in time")
	case IsUnavailable(err) && !errors.Is(err, errTooLong):
		return domain.Wrap(domain.CodeUnavailable, fmt.Errorf("%s: %w", doing, err), "the database is unavailable")
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}

// TranslateWork does what Translate does, for work that a relay or a worker repeats. The
// server may refuse such work because of a missing right, row-level security or a missing
// REPLICA IDENTITY. Such a refusal counts as an outage until an operator corrects the
// cause, and not as a fault of an event.
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

// SQLState returns the SQLSTATE of an error that the server returned, or "" for any other
// error.
func SQLState(err error) string { return outage.State(err) }

// readOnly is the SQLSTATE of PostgreSQL's error if a server that is read-only gets a
// write.
const readOnly = "25006"

// TooEarly is the SQLSTATE with which the database refuses to confirm an event
// that may not take effect yet.
const TooEarly = "OB001"

// LockTimeout is the SQLSTATE of a statement that waited for a lock for longer than
// lock_timeout.
const LockTimeout = "55P03"

// IsUnavailable reports whether the same statement may succeed later: for example, the
// server cannot be reached, is shutting down, has no room, is read-only, ended a statement
// that took too long, or waited too long for a lock. Consumers of the module client use
// the same rules.
func IsUnavailable(err error) bool {
	return outage.Is(err) || SQLState(err) == "" && IsConnectionLost(err)
}

// isLate reports whether the deadline of the statement's context ended the statement. Then the server may only be
// busy, so the message does not call the server unavailable.
func isLate(err error) bool {
	_, connecting := errors.AsType[*pgconn.ConnectError](err)
	return errors.Is(err, context.DeadlineExceeded) && !connecting && !errors.Is(err, errTooLong)
}

// IsStaleError reports whether a prepared statement of the session can no longer be used.
// pgx prepares the statement again when it is used next.
func IsStaleError(err error) bool { return outage.IsStale(err) }

// IsConnectionLost reports whether the connection failed, and not the statement. If
// COMMIT was not sent yet, the transaction has changed nothing.
func IsConnectionLost(err error) bool {
	_, connecting := errors.AsType[*pgconn.ConnectError](err)
	return connecting || outage.IsLost(err)
}

// IsFleeting reports whether to repeat the transaction at once: it failed because of a
// conflict with another transaction, or because of an outdated plan.
func IsFleeting(err error) bool {
	if outage.IsFleeting(err) {
		return true
	}
	pg, ok := errors.AsType[*pgconn.PgError](err)
	// Another session made a partition while this row was being inserted into the default
	// partition. PostgreSQL reports that as a violated CHECK constraint without a name. All
	// of outboxd's constraints have names.
	return ok && pg.Code == "23514" && pg.ConstraintName == ""
}

// isMisconfigured reports whether no connection can succeed with this configuration.
func isMisconfigured(err error) bool {
	switch SQLState(err) {
	case "28000", "28P01", "3D000", "3F000", "42501",
		"42704", "22023": // a parameter of the URL, or its value, that the server does not know
		return true
	}
	return false
}
