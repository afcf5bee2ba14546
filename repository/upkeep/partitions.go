package upkeep

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"gorm.io/gorm"

	"outboxd/domain"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// daysAhead is for how many future days the leader makes partitions. Without a leader, the
// history therefore has partitions for that many days. Later rows go to the default
// partition.
const daysAhead = 7

// The name of a partition is partitionPrefix and the day in UTC, as 20060102.
const partitionPrefix = "outbox_sent_"

const partitionDay = "20060102"

// PartitionsSQL returns the names of the partitions of the history.
const PartitionsSQL = `
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'outbox_sent'::regclass`

// The default partition is normally empty. It gets rows if there was no leader for days.
// It has no index by time, and may have many rows that are not yet old enough to be
// deleted. The subquery returns one value, so that the planner cannot read the whole
// inbox into a hash.
var trimDefaultSQL = `
WITH looked AS MATERIALIZED (
    SELECT ctid AS place, sent_at, id FROM outbox_sent_default WHERE (id, sent_at) > ($4::uuid, $3::timestamptz) ORDER BY id, sent_at LIMIT $2
), gone AS (
    DELETE FROM outbox_sent_default WHERE ctid = ANY (ARRAY(
        SELECT place FROM looked WHERE sent_at < now() - $1::float8 * interval '1 second'))
    RETURNING id, event_type, created_at
), entered AS (` + fmt.Sprintf(closeSQL, "gone", "(SELECT i.event_id FROM inbox i WHERE i.event_id = s.id) IS NOT NULL") + `)
SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM looked), coalesce(last.sent_at, $3), coalesce(last.id, $4)
FROM (SELECT) AS one LEFT JOIN (SELECT sent_at, id FROM looked ORDER BY id DESC, sent_at DESC LIMIT 1) AS last ON true`

const trimDefaultBatch = 10_000

// KeepPartitions implements domain.Housekeeping.
func (h *Housekeeping) KeepPartitions(ctx context.Context, history time.Duration) error {
	existing, err := h.partitions(ctx)
	if err != nil {
		return postgres.Translate(err, "list the partitions of outbox_sent")
	}
	var now time.Time
	if err := h.db.SQL().QueryRowContext(ctx, "SELECT now()").Scan(&now); err != nil {
		return postgres.Translate(err, "ask for the time")
	}
	today := now.UTC().Truncate(24 * time.Hour)
	var faults []error
	for ahead := range daysAhead + 1 {
		if day := today.AddDate(0, 0, ahead); !existing[day] {
			faults = append(faults, h.createPartition(ctx, day, ahead == 0))
		}
	}
	for day := range existing {
		if isOverdue(day, now, history) {
			faults = append(faults, h.dropPartition(ctx, day))
		}
	}
	faults = append(faults, h.trimDefault(ctx, history))
	return errors.Join(faults...)
}

// isOverdue reports whether all rows of a day's partition are older than the time for
// which the history is kept.
func isOverdue(day, now time.Time, history time.Duration) bool {
	return day.AddDate(0, 0, 1).Before(now.Add(-history))
}

// trimDefault deletes old rows of the default partition, which gets rows if no partitions
// can be made.
func (h *Housekeeping) trimDefault(ctx context.Context, history time.Duration) error {
	_, err := h.trimPast(ctx, "trim the default partition of outbox_sent", trimDefaultSQL, history, trimDefaultBatch, 0)
	return err
}

func (h *Housekeeping) partitions(ctx context.Context) (map[time.Time]bool, error) {
	rows, err := h.db.SQL().QueryContext(ctx, PartitionsSQL)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return PartitionDays(names), rows.Err()
}

// PartitionDays returns the days of the partitions with the given names. The default
// partition has none.
func PartitionDays(names []string) map[time.Time]bool {
	days := map[time.Time]bool{}
	for _, name := range names {
		if day, err := time.Parse(partitionDay, strings.TrimPrefix(name, partitionPrefix)); err == nil {
			days[day] = true
		}
	}
	return days
}

// createPartition makes the partition of a day. First createPartition moves the day's
// rows out of the default partition: as long as the default partition has such rows,
// PostgreSQL refuses the new partition. A query may be planned before the move and then
// wait for the default partition. Such a query would look for the rows in the default
// partition, and not find them. So createPartition first takes a lock on outbox_sent, for
// which a query waits before it is planned. A day in the future has no such rows, so a
// weaker lock is enough.
func (h *Housekeeping) createPartition(ctx context.Context, day time.Time, begun bool) error {
	name := partitionPrefix + day.Format(partitionDay)
	from, to := day.Format(time.RFC3339), day.AddDate(0, 0, 1).Format(time.RFC3339)
	list := []string{
		fmt.Sprintf("CREATE TABLE %s (LIKE outbox_sent INCLUDING DEFAULTS INCLUDING CONSTRAINTS)", name),
		// ATTACH locks the default partition anyway. The lock is taken before the rows are
		// moved, so that no new rows arrive in between.
		"LOCK TABLE outbox_sent_default IN ACCESS EXCLUSIVE MODE",
		fmt.Sprintf("WITH moved AS (DELETE FROM outbox_sent_default WHERE sent_at >= '%s' AND sent_at < '%s' RETURNING *) INSERT INTO %s SELECT * FROM moved", from, to, name),
		fmt.Sprintf("ALTER TABLE outbox_sent ATTACH PARTITION %s FOR VALUES FROM ('%s') TO ('%s')", name, from, to),
	}
	doing := "create partition " + name
	err := h.db.Transact(ctx, doing, func(tx *gorm.DB) error {
		mode := "SHARE UPDATE EXCLUSIVE"
		if begun {
			mode = "ACCESS EXCLUSIVE"
		}
		if err := execAll(tx, []string{"LOCK TABLE outbox_sent IN " + mode + " MODE"}); err != nil {
			return err
		}
		var stray int
		if err := postgres.Statements(tx).QueryRowContext(ctx, strayRowsSQL, from, to, maxStrayRows+1).Scan(&stray); err != nil {
			return err
		}
		if stray > maxStrayRows {
			return fmt.Errorf("the default partition has more than %d rows of that day; they are left there until they are old enough to be deleted", maxStrayRows)
		}
		return execAll(tx, list)
	})
	if err == nil {
		h.db.Logger().DebugContext(ctx, "created a partition of the history", "partition", name)
	}
	return err
}

// maxStrayRows is the largest number of rows that createPartition moves, because all
// relays wait during the move.
const maxStrayRows = 10_000

const strayRowsSQL = `
SELECT count(*) FROM (SELECT FROM outbox_sent_default WHERE sent_at >= $1::timestamptz AND sent_at < $2::timestamptz LIMIT $3) AS stray`

// dropPartition counts the rows of a partition in the account, in pieces, and then drops
// the partition. A lock keeps the partition unchanged.
func (h *Housekeeping) dropPartition(ctx context.Context, day time.Time) error {
	name := partitionPrefix + day.Format(partitionDay)
	err := postgres.InPieces(ctx, postgres.LargestPiece, func(rows int) (done bool, err error) {
		return true, h.db.Transact(ctx, "drop partition "+name, func(tx *gorm.DB) error {
			if err := execAll(tx, []string{"LOCK TABLE " + name + " IN SHARE MODE"}); err != nil {
				return err
			}
			if err := closePartition(tx, name, rows); err != nil {
				return err
			}
			return execAll(tx, []string{"DROP TABLE " + name})
		})
	})
	if err == nil {
		h.db.Logger().InfoContext(ctx, "dropped a partition of the history", "partition", name)
	}
	return err
}

// partitionPieceSQL finds where a piece of a partition begins and ends, as
// stored.PieceBesideInbox does for the history.
const partitionPieceSQL = `
WITH first AS MATERIALIZED (SELECT id FROM %[1]s WHERE id >= $1 ORDER BY id LIMIT 1)
SELECT (SELECT id FROM first), least(
    (SELECT id FROM %[1]s WHERE id >= $1 ORDER BY id OFFSET %[2]d LIMIT 1),
    (SELECT event_id FROM inbox WHERE event_id >= (SELECT id FROM first) ORDER BY event_id OFFSET %[2]d LIMIT 1))`

func closePartition(tx *gorm.DB, name string, rows int) error {
	ctx := tx.Statement.Context
	statement := fmt.Sprintf(closeSQL, "(SELECT p.*, i.event_id FROM "+name+" p LEFT JOIN (SELECT event_id FROM inbox WHERE event_id >= $1 AND event_id <= $2) i ON i.event_id = p.id WHERE id >= $1 AND id <= $2)",
		"s.event_id IS NOT NULL")
	for after := (domain.ID{}); after != stored.LastID; {
		var first, end *domain.ID
		err := postgres.Statements(tx).QueryRowContext(ctx, fmt.Sprintf(partitionPieceSQL, name, rows-1), domain.ID(stored.PieceStart(after))).Scan(&first, &end)
		if err != nil || first == nil {
			return err
		}
		after = stored.LastID
		if end != nil {
			after = *end
		}
		if _, err := postgres.Statements(tx).ExecContext(ctx, statement, *first, after); err != nil {
			return err
		}
	}
	return nil
}

// partitionPatience is how long a change of partitions waits for its locks.
// partitionPatience is short, because all other inserts wait behind the change.
const partitionPatience = 2 * time.Second

// execAll executes statements, each of which waits at most partitionPatience for its
// locks.
func execAll(tx *gorm.DB, list []string) error {
	list = append([]string{"SET LOCAL lock_timeout = " + postgres.Milliseconds(partitionPatience)}, list...)
	for _, statement := range list {
		if _, err := postgres.Statements(tx).ExecContext(tx.Statement.Context, statement); err != nil {
			return err
		}
	}
	return nil
}
