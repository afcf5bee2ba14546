// Package outage tells outages of PostgreSQL from faults of a statement, whatever the
// driver is. The daemon and its consumers share it, so that they agree on what costs a
// task none of its attempts.
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

// sqlState is what the errors of every driver have in common.
type sqlState interface {
	error
	SQLState() string
}

// State returns the SQLSTATE of a server's error, "" of any other.
func State(err error) string {
	if state, ok := errors.AsType[sqlState](err); ok {
		return state.SQLState()
	}
	return ""
}

// classes are the classes of SQLSTATEs that pass by themselves, and states single
// ones. See PostgreSQL's appendix A.
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
		"XX000",          // also what a disk quota or a limit of file size is reported as
		"28000", "28P01", // refused by pg_hba or password: somebody is changing them
	}
)

// Is tells whether the same statement may succeed later without anybody changing it:
// the server is gone, going, full, read-only, or gave up on a lock.
func Is(err error) bool {
	if state := State(err); state != "" {
		return slices.Contains(classes, state[:min(len(state), 2)]) || slices.Contains(states, state) || IsStale(err)
	}
	return IsLost(err) || errors.Is(err, context.DeadlineExceeded)
}

// IsLost tells whether the connection failed rather than the statement. Until COMMIT
// was sent such a transaction has certainly not happened.
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

// IsStale tells whether the session's prepared statement is of no use any more:
// somebody changed a table that it reads, or discarded it. The driver prepares it anew
// for the next use.
func IsStale(err error) bool {
	state, ok := errors.AsType[sqlState](err)
	if !ok {
		return false
	}
	return state.SQLState() == "26000" || state.SQLState() == "0A000" && routine(state) == "RevalidateCachedQuery"
}

// IsFleeting tells whether the statement is worth an immediate repetition: it lost
// against another one, which is over.
func IsFleeting(err error) bool {
	state := State(err)
	return state == "40001" || state == "40P01" || IsStale(err) // serialization, deadlock
}

// routine is where in PostgreSQL an error was raised: its text may be in another
// language. pgx and lib/pq have it in a field of the same name.
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
