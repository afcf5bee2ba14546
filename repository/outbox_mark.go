package repository

import "github.com/jackc/pgx/v5"

// markSQL reads the mark of the outbox, and the mark's source: the server process, the
// outbox's name and its table. If the source is $4, the connection has read the mark before,
// and markSQL returns "" instead of the mark. outbox_mark() opens a file of the server. In a
// claim of one event, opening this file takes about as long as everything else.
//
// A server process serves one database of one cluster until it ends. The source names the
// server process by its PID and by the start of the server. So the mark is read again if a
// pooler gives the connection another server process, or if a restored outbox has another
// name. The mark also depends on whether the owner of outbox_mark() may execute
// pg_control_system(). A connection that has read the mark does not notice that the owner
// gains or loses this right: the change takes effect with the next connection.
const markSQL = `coalesce(source, ''), CASE WHEN source = $4 THEN '' ELSE coalesce(outbox_mark(), '') END
FROM (SELECT (SELECT concat_ws(' ', pg_postmaster_start_time(), pg_backend_pid(), name, tableoid) FROM outbox_queue_identity) AS source) AS outbox_source`

// sourcedMark is a mark with the source that it was read from. The zero sourcedMark means
// that no mark was read yet.
type sourcedMark struct{ source, mark string }

// markKey finds the connection's sourcedMark in the connection's CustomData.
const markKey = "outboxd mark"

func markOn(conn *pgx.Conn) sourcedMark {
	known, _ := conn.PgConn().CustomData()[markKey].(sourcedMark)
	return known
}

// rememberMark returns the mark that markSQL has read on conn. If markSQL returned no mark
// because conn has read it before, rememberMark returns that mark.
func rememberMark(conn *pgx.Conn, read sourcedMark) string {
	if known := markOn(conn); read.source != "" && read.source == known.source {
		return known.mark
	}
	conn.PgConn().CustomData()[markKey] = read
	return read.mark
}
