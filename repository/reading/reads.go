package reading

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"outboxd/domain"
	"outboxd/repository"
	"outboxd/repository/postgres"
)

const (
	// lookEvery is how old the standing of the standby may be before the next query looks
	// again. While the standing has a fault of any kind, it may be awayFactor times as old.
	// But while the standby must reach the position in Reads.wrote and the connection to
	// the standby is open, every query looks again.
	lookEvery  = time.Second
	awayFactor = 5
	// lookPatience bounds one look at both servers, and primaryPatience a question to the
	// primary.
	lookPatience    = time.Second
	primaryPatience = 500 * time.Millisecond
	// primaryReads is how many queries the primary answers at once. The relay, the leader and the
	// health checks use the same pool, and pages that many people open must leave them connections.
	primaryReads = 2
)

// Reads chooses the server for queries that change nothing. It is safe for concurrent use.
type Reads struct {
	primary *postgres.Database
	bound   *repository.Bound // of queries to the primary
	open    func(context.Context) (*postgres.Database, error)
	logger  *slog.Logger
	every   time.Duration // lookEvery, except in tests

	mu        sync.Mutex // held while one caller looks at the standby; the others wait for the result
	standby   *postgres.Database
	last      domain.Standby
	looked    time.Time
	told      string   // the fault that was logged last
	wrote     string   // position of the write-ahead log that the standby must reach before it answers; "": any
	writes    uint64   // calls of Wrote
	wroteBy   uint64   // the number of the call that set wrote last
	primaryIs identity // what the primary last said; empty: it has not answered yet
}

// New returns Reads that prefer a standby of primary. The function open connects to the
// standby. If open fails, it is called again later. open is nil if there is no standby.
func New(primary *postgres.Database, open func(context.Context) (*postgres.Database, error), logger *slog.Logger) *Reads {
	return &Reads{primary: primary, bound: repository.NewBound(primaryReads), open: open, logger: logger, every: lookEvery}
}

// Close closes the connections to the standby.
func (r *Reads) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.standby != nil {
		r.standby.Close()
	}
	r.standby, r.open = nil, nil
}

// Standing says which server answers queries now, and how far the standby is behind. ok is
// false if no standby is configured.
func (r *Reads) Standing(ctx context.Context) (s domain.Standby, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil {
		return s, false
	}
	r.look(ctx)
	return r.last, true
}

// IsUsed reports whether a query, or a call of Standing, has looked at the standby.
func (r *Reads) IsUsed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.looked.IsZero()
}

// Wrote tells Reads that the caller has changed something. Until the standby has the
// change, queries are answered by the primary. If the primary does not say within half a
// second where its log ends, Wrote changes nothing.
func (r *Reads) Wrote(ctx context.Context) {
	r.mu.Lock()
	none := r.open == nil
	r.writes++
	call := r.writes
	r.mu.Unlock()
	if none {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), primaryPatience)
	defer cancel()
	var position string
	if r.primary.Pool().QueryRow(ctx, "SELECT pg_current_wal_insert_lsn()::text").Scan(&position) == nil {
		r.mu.Lock()
		// If a call that began later has ended first, its position also covers the
		// change of this call. The position of this call may not cover the change of
		// the later call.
		if call > r.wroteBy {
			r.wrote, r.wroteBy = position, call
		}
		r.mu.Unlock()
	}
}

// choose returns the standby, or nil if queries go to the primary. If the parameter again is
// true, choose looks at the standby even if the last look is recent.
func (r *Reads) choose(ctx context.Context, again bool) *postgres.Database {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil {
		return nil
	}
	if again {
		r.looked = time.Time{}
	}
	r.look(ctx)
	if r.last.Fault != "" {
		return nil
	}
	return r.standby
}

// look brings the standing up to date. The caller holds the lock.
func (r *Reads) look(ctx context.Context) {
	every := r.every
	switch {
	case r.wrote != "" && r.standby != nil:
		every = 0
	case r.last.Fault != "":
		every *= awayFactor
	}
	if !r.looked.IsZero() && time.Since(r.looked) < every {
		return
	}
	var err error
	r.last, err = r.see(ctx)
	r.looked = time.Now()
	r.tell(err)
}

// see connects to the standby if necessary, and asks both servers how far they are.
func (r *Reads) see(ctx context.Context) (domain.Standby, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookPatience)
	defer cancel()
	if r.standby == nil {
		standby, err := r.open(ctx)
		if err != nil {
			return domain.Standby{Fault: "The standby does not answer."}, err
		}
		r.standby = standby
	}
	now, is, err := r.seePrimary(ctx)
	if err == nil {
		r.primaryIs = is
	}
	if r.primaryIs == (identity{}) {
		return domain.Standby{Fault: "The primary has not answered yet, so nobody knows whether the standby follows it."}, err
	}
	const sql = `
SELECT pg_is_in_recovery(), (SELECT system_identifier::text FROM pg_control_system()), current_database(),
       coalesce(greatest(pg_wal_lsn_diff(nullif($1, '')::pg_lsn, pg_last_wal_replay_lsn()), 0)::bigint, -1),
       coalesce(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()), -1)::float8,
       coalesce(pg_last_wal_replay_lsn() >= nullif($2, '')::pg_lsn, true)`
	var follows, hasWrite bool
	var of identity
	var behind float64
	var s domain.Standby
	if err := r.standby.Pool().QueryRow(ctx, sql, now, r.wrote).Scan(&follows, &of.system, &of.database, &s.Bytes, &behind, &hasWrite); err != nil {
		return domain.Standby{Fault: "The standby does not answer."}, err
	}
	s.Behind = time.Duration(behind * float64(time.Second))
	if behind < 0 {
		s.Behind = -1
	}
	switch {
	case of.system != r.primaryIs.system:
		return domain.Standby{Fault: "The server of --database-read-url is no standby of this PostgreSQL."}, errors.New("it has another system identifier")
	case of.database != r.primaryIs.database:
		return domain.Standby{Fault: "--database-read-url names another database than the primary's."}, fmt.Errorf("it is the database %q", of.database)
	case !follows:
		return domain.Standby{Fault: "The server of --database-read-url is no standby."}, errors.New("it is not in recovery")
	case !hasWrite:
		return domain.Standby{Fault: "The standby does not have the last change yet."}, nil
	}
	r.wrote = ""
	return s, nil
}

// identity names the PostgreSQL cluster and the database that answered. A standby has the
// identity of its primary.
type identity struct{ system, database string }

// seePrimary returns the end of the primary's log and what the primary is, or an error if
// the primary does not answer.
func (r *Reads) seePrimary(ctx context.Context) (position string, is identity, err error) {
	ctx, cancel := context.WithTimeout(ctx, primaryPatience)
	defer cancel()
	const sql = "SELECT pg_current_wal_lsn()::text, system_identifier::text, current_database() FROM pg_control_system()"
	if err = r.primary.Pool().QueryRow(ctx, sql).Scan(&position, &is.system, &is.database); err != nil {
		return "", identity{}, err
	}
	return position, is, nil
}

// tell logs each new fault of the standby once, and once that the standby is back. A standby
// that only lacks the last change is no error, and is not logged.
func (r *Reads) tell(err error) {
	switch {
	case err != nil && r.told != r.last.Fault:
		r.told = r.last.Fault
		r.logger.Warn("the pages and commands read from the primary instead of the standby", "why", r.last.Fault, "error", err)
	case r.last.Fault == "" && r.told != "":
		r.told = ""
		r.logger.Info("the pages and commands read from the standby again")
	}
}

// ask answers a query from the standby. If the standby cannot answer it, ask answers it from
// the primary, unless the query was too slow.
func ask[T any](ctx context.Context, r *Reads, read func(*postgres.Database) (T, error)) (T, error) {
	standby := r.choose(ctx, false)
	if standby == nil {
		return fromPrimary(ctx, r, read)
	}
	found, err := read(standby)
	switch {
	case err == nil, ctx.Err() != nil:
		return found, err
	// A query that was too slow for the standby is not repeated on the primary, which is busier.
	case postgres.SQLState(err) == postgres.Cancelled, errors.Is(err, context.DeadlineExceeded) && r.choose(ctx, true) != nil:
		return found, err
	case postgres.IsUnavailable(err):
		r.choose(ctx, true)
	}
	// The primary also has what is newer than the standby's state, such as an event that
	// the standby did not find.
	return fromPrimary(ctx, r, read)
}

// fromPrimary answers a query from the primary.
func fromPrimary[T any](ctx context.Context, r *Reads, read func(*postgres.Database) (T, error)) (found T, err error) {
	err = r.bound.Within(ctx, "read for a page", func() error {
		found, err = read(r.primary)
		return err
	})
	return found, err
}
