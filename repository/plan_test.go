package repository_test

import (
	"fmt"
	"strings"
	"testing"

	"outboxd/app/schematest"
	"outboxd/repository"
	"outboxd/repository/repositorytest"
)

// There are a million rows, and many of them are dead or not due. With and
// without statistics, and for a custom and a generic plan, the claim reads its
// index from the cursor on. A plan that scanned the table, or sorted it, would
// cost seconds, and come without a warning when the statistics change.
func TestTheClaimReadsItsIndexOnly(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	conn, run := repositorytest.Session(t, db)
	run("ALTER TABLE outbox SET (autovacuum_enabled = false)")
	run(`INSERT INTO outbox (id, event_type, payload, available_at)
		SELECT gen_random_uuid(), 'test:a', 'payload', CASE n % 3 WHEN 0 THEN now() + n * interval '1 second' ELSE now() - n * interval '1 ms' END
		FROM generate_series(1, 1000000) n`)
	run("DELETE FROM outbox WHERE available_at < now() - interval '500 seconds'") // finished: dead rows, not vacuumed
	for _, history := range []bool{false, true} {
		run(fmt.Sprintf("PREPARE claim_%t (timestamptz, uuid, bigint, text[]) AS %s", history, fmt.Sprintf(repository.ClaimStatement(history), 500)))
	}
	for _, statistics := range []string{"", "ANALYZE outbox"} {
		run(statistics)
		for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
			run("SET plan_cache_mode = " + mode)
			for _, history := range []bool{false, true} {
				for _, cursor := range []string{"-infinity", "now"} {
					plan := explain(t, conn, fmt.Sprintf("EXPLAIN EXECUTE claim_%t ('%s', '00000000-0000-0000-0000-000000000000', 1000000, '{}')", history, cursor))
					if !strings.Contains(plan, "Index Scan using outbox_due") || !strings.Contains(plan, "Tid Scan on outbox") ||
						strings.Contains(plan, "Seq Scan") || strings.Contains(plan, "Sort") || strings.Contains(plan, "Bitmap") {
						t.Errorf("history %t, cursor %s, %s, %q:\n%s", history, cursor, mode, statistics, plan)
					}
				}
			}
		}
	}
}
