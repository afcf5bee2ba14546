// Package outage distinguishes outages of PostgreSQL from faults of a statement.
// The package works with every driver whose errors have a method SQLState, such as
// pgx and lib/pq. The daemon and the consumers share the package, so that they agree
// on which errors cost a task no attempt.
package outage

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"reflect"
	"slices"
	"strings"
)

// sqlState is the interface that the errors of pgx and lib/pq implement.
type sqlState interface {
	error
	SQLState() string
}

// State returns the SQLSTATE of a server's error, or "" for any other error.
func State(err error) string {
	if state, ok := errors.AsType[sqlState](err); ok {
		return state.SQLState()
	}
	return ""
}

// classes lists the classes of SQLSTATEs of errors that may pass by themselves, and
// states lists single SQLSTATEs. See PostgreSQL's appendix A.
var (
	classes = []string{
		"08", // connection exception
		"40", // deadlock, serialization
		"53", // insufficient resources
		"57", // operator intervention
		"58", // system error
	}
	states = []string{
		"25006",          // read-only: a standby, or a primary that was demoted
		"25P03", "25P04", // idle-in-transaction and transaction timeout
		"55P03",          // lock not available
		"XX000",          // also reported for a disk quota or a limit of file size
		"28000", "28P01", // refused by pg_hba or password, while these are being changed
	}
)

// Is reports whether the same statement may succeed later without a change to it.
// For example, the server is gone, stopping, full or read-only, refuses the password,
// or gave up on a lock.
func Is(err error) bool {
	if state := State(err); state != "" {
		return slices.Contains(classes, state[:min(len(state), 2)]) || slices.Contains(states, state) || IsStale(err)
	}
	return IsLost(err) || errors.Is(err, context.DeadlineExceeded)
}

// IsLost reports whether the connection failed and not the statement. If COMMIT was
// not sent yet, the transaction is certainly not committed.
func IsLost(err error) bool {
	switch State(err) {
	case "57P01", "57P02", "57P03", "25P03", "25P04": // shut down, crashed, starting, timed out
		return true
	}
	var network net.Error
	return errors.As(err, &network) ||
		errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) ||
		err != nil && strings.HasSuffix(err.Error(), "conn closed")
}

// IsStale reports whether a prepared statement of the session is no longer valid,
// because a table that it reads was changed, or because the server discarded it.
// The driver prepares the statement again for the next use.
func IsStale(err error) bool {
	state, ok := errors.AsType[sqlState](err)
	if !ok {
		return false
	}
	return state.SQLState() == "26000" || state.SQLState() == "0A000" && routine(state) == "RevalidateCachedQuery"
}

// IsFleeting reports whether repeating the transaction at once may help: either it lost
// a conflict with another transaction, or IsStale is true.
func IsFleeting(err error) bool {
	state := State(err)
	return state == "40001" || state == "40P01" || IsStale(err) // serialization, deadlock
}

// routine returns the name of the C function in PostgreSQL that raised an error.
// The name identifies the error even if the message is in another language. pgx and
// lib/pq have this name in the field Routine.
func routine(err error) string {
	v := reflect.Indirect(reflect.ValueOf(err))
	if v.Kind() != reflect.Struct {
		return ""
	}
	field := v.FieldByName("Routine")
	if !field.IsValid() || field.Kind() != reflect.String {
		return ""
	}
	return field.String()
}
