package heal

import (
	"context"
	"sync"
	"time"

	"outboxd/domain/lost"
	"outboxd/repository/postgres"
)

// lineage asks PostgreSQL for the identifier of its cluster and for its timeline. lineage
// checks its rights once, and then leaves out the functions that it may not call, because
// PostgreSQL logs every refusal as an error.
type lineage struct {
	mu  sync.Mutex
	ask string // the statement; "": not known yet

	is          lost.DatabaseIdentity // the last answer, if it came from PostgreSQL
	asked       time.Time
	connections int64 // that the pool had opened before the last question
}

// askAgain is how long lineage uses an answer again while the pool opens no new
// connection. If the server is replaced or restored, the connections to it end, and the
// pool opens new ones. But a pooler between outboxd and the server may hide that
// connections ended. So lineage uses an answer of PostgreSQL for at most askAgain.
const askAgain = 30 * time.Second

// The timeline comes from the name of the current WAL file: the name begins with the
// timeline, and by default every role may read the name. pg_control_checkpoint would give
// the timeline of the last checkpoint.
const mayAskSQL = `
SELECT has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE'),
       has_function_privilege('pg_catalog.pg_walfile_name(pg_lsn)', 'EXECUTE') AND has_function_privilege('pg_catalog.pg_current_wal_lsn()', 'EXECUTE')`

// pg_walfile_name fails on a standby, because a standby writes no WAL file.
const (
	systemSQL   = `(SELECT system_identifier::text FROM pg_control_system())`
	timelineSQL = `CASE WHEN pg_is_in_recovery() THEN '' ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END`
)

// Database implements lost.QueueMemory. A field of the result is empty if outboxd may not
// call the functions for it, or if the server refuses to answer. The timeline is also
// empty on a standby.
func (m *QueueMemory) Database(ctx context.Context) (is lost.DatabaseIdentity, err error) {
	const doing = "ask who the database is"
	pool := m.db.Pool()
	m.line.mu.Lock()
	defer m.line.mu.Unlock()
	opened := pool.Stat().NewConnsCount()
	if opened == m.line.connections && time.Since(m.line.asked) < askAgain {
		return m.line.is, nil
	}
	if m.line.ask == "" {
		var system, timeline bool
		if err := pool.QueryRow(ctx, mayAskSQL).Scan(&system, &timeline); err != nil && !isRefusal(err) {
			return is, postgres.Translate(err, doing)
		}
		m.line.ask = "SELECT " + either(system, systemSQL) + ", " + either(timeline, timelineSQL)
	}
	if err := pool.QueryRow(ctx, m.line.ask).Scan(&is.SystemID, &is.Timeline); err != nil {
		if !isRefusal(err) {
			return lost.DatabaseIdentity{}, postgres.Translate(err, doing)
		}
		m.line.ask = "SELECT '', ''"
		return lost.DatabaseIdentity{}, nil
	}
	m.line.is, m.line.asked, m.line.connections = is, time.Now(), opened
	return is, nil
}

// isRefusal reports whether the server itself refused a question, and not because of an
// outage. An error of this process, such as a cancelled context, says nothing about the
// server.
func isRefusal(err error) bool {
	return postgres.SQLState(err) != "" && !postgres.IsUnavailable(err)
}

func either(may bool, expression string) string {
	if may {
		return expression
	}
	return "''"
}

// history_since says since when the history has every published event. If the
// retention becomes longer, history_since moves, because the shorter retention has
// dropped older events. If the history is turned on, history_since becomes now().
const rememberDatabaseSQL = `
UPDATE outbox_queue_identity
SET system_id = $1, timeline = $2, history_seconds = $3::float8,
    history_since = CASE
        WHEN $3::float8 = 0 THEN NULL
        WHEN history_seconds = 0 OR history_since IS NULL THEN now()
        WHEN $3::float8 > history_seconds THEN greatest(history_since, now() - history_seconds * interval '1 second')
        ELSE history_since END`

// RememberDatabase implements lost.QueueMemory.
func (m *QueueMemory) RememberDatabase(ctx context.Context, is lost.DatabaseIdentity, history time.Duration) error {
	_, err := m.db.SQL().ExecContext(ctx, rememberDatabaseSQL, is.SystemID, is.Timeline, history.Seconds())
	return postgres.Translate(err, "remember who the database is")
}

// doubtPause is how long a session may still not know of a doubt: outbox_is_doubtful
// reads the table once a second.
const doubtPause = 1100 * time.Millisecond

// Doubt implements lost.QueueMemory.
func (m *QueueMemory) Doubt(ctx context.Context) error {
	_, err := m.db.SQL().ExecContext(ctx, `UPDATE outbox_queue_identity SET went_back_at = clock_timestamp(), acknowledged = 'end'`)
	if err != nil {
		return postgres.Translate(err, "remember that the database may have gone back")
	}
	heard := time.NewTimer(doubtPause)
	defer heard.Stop()
	select {
	case <-heard.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
