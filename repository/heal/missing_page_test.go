package heal_test

import (
	"slices"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/repository/heal"
	"outboxd/repository/postgres"
)

// The history has every kind of event that a page must distinguish: confirmed
// and unconfirmed, dead in this generation and in an earlier one, young, sent in
// the future, of an excepted type, in two generations. The inbox has
// many more IDs than the history, so that a page ends before its limit.
const mixedHistory = `
INSERT INTO outbox_sent (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, sent_at)
SELECT CASE WHEN n % 5 = 0 THEN gen_random_uuid() ELSE outbox_new_id() END, CASE n % 7 WHEN 0 THEN 'test:except' ELSE 'test:' || n % 3 END,
    '', '{}', 'default', now(), 0, 1, now(),
    CASE n % 11 WHEN 0 THEN now() WHEN 1 THEN now() + interval '1 hour' ELSE now() - interval '1 hour' END
FROM generate_series(1, 700) n;
INSERT INTO outbox_sent SELECT (jsonb_populate_record(s, '{"generation": 2, "sent_at": "2020-01-01T00:00:00Z"}')).*
FROM outbox_sent s WHERE get_byte(uuid_send(id), 15) % 9 = 0;
INSERT INTO inbox (event_id) SELECT DISTINCT id FROM outbox_sent WHERE get_byte(uuid_send(id), 14) % 2 = 0;
INSERT INTO inbox (event_id) SELECT gen_random_uuid() FROM generate_series(1, 3000);
` // and dead letters

const naivePage = `
SELECT DISTINCT s.id FROM outbox_sent s
WHERE s.event_type <> 'test:except' AND s.sent_at NOT BETWEEN now() - interval '1 minute' AND now()
  AND NOT EXISTS (SELECT FROM inbox WHERE event_id = s.id)
  AND NOT EXISTS (SELECT FROM outbox_dead d WHERE d.id = s.id AND d.generation >= s.generation)
ORDER BY s.id`

func TestPagesOfTheHistoryAreWhatWaits(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	exec(t, db, mixedHistory)
	exec(t, db, schematest.DeadOf("e")+"FROM outbox_sent o WHERE get_byte(uuid_send(id), 13) % 5 = 0 AND generation = 1")
	want := ids(t, db, naivePage)
	if len(want) < 50 {
		t.Fatalf("only %d events wait", len(want))
	}
	missing := heal.NewMissingEvents(db)
	for _, limit := range []int{1, 7, 100, 5000} {
		var found []domain.ID
		proven := map[string]bool{}
		for after := (domain.ID{}); ; {
			page, err := missing.Page(t.Context(), after, domain.LastID(), limit, time.Minute, []string{"test:except"})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range page.Waiting {
				if id := e.Event.ID; len(found) == 0 || found[len(found)-1] != id {
					found = append(found, id)
				}
			}
			for _, eventType := range page.Proven {
				proven[eventType] = true
			}
			if page.End {
				break
			}
			if slices.Compare(page.Last[:], after[:]) <= 0 {
				t.Fatalf("pages of %d do not get on from %s", limit, after)
			}
			after = page.Last
		}
		if !slices.Equal(found, want) {
			t.Errorf("pages of %d have %d events, want %d", limit, len(found), len(want))
		}
		if len(proven) != 4 {
			t.Errorf("pages of %d know confirmations of %v", limit, proven)
		}
	}
	if page, err := missing.Page(t.Context(), want[len(want)-1], domain.LastID(), 1, 0, nil); err != nil || len(page.Waiting) > 1 {
		t.Errorf("the end: %+v, %v", page, err)
	}
	if page, err := missing.Page(t.Context(), domain.LastID(), domain.LastID(), 1, 0, nil); err != nil || !page.End || page.Last != domain.LastID() {
		t.Errorf("after the end: %+v, %v", page, err)
	}
}

// The inbox is read once for a page, and not asked about each of its events.
func TestAPageAsksTheInboxOnce(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	exec(t, db, `INSERT INTO outbox_sent (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at)
		SELECT outbox_new_id(), 'test:a', '', '{}', 'default', now(), 0, 0, now() FROM generate_series(1, 2000)`)
	exec(t, db, "INSERT INTO inbox (event_id) SELECT id FROM outbox_sent WHERE get_byte(uuid_send(id), 15) % 2 = 0")
	missing := heal.NewMissingEvents(db)
	for _, statistics := range []string{"", "ANALYZE outbox_sent, inbox, outbox_dead"} {
		if statistics != "" {
			exec(t, db, statistics)
		}
		before := scansOfInbox(t, db)
		if page, err := missing.Page(t.Context(), domain.ID{}, domain.LastID(), 1500, 0, nil); err != nil || page.End || len(page.Waiting) == 0 {
			t.Fatalf("%d events of a page that ends %t, %v", len(page.Waiting), page.End, err)
		}
		eventually(t, db, 1, "SELECT (coalesce(idx_scan, 0) + coalesce(seq_scan, 0) > $1)::int FROM pg_stat_all_tables WHERE relid = 'inbox'::regclass", before)
		if n := scansOfInbox(t, db) - before; n > 3 {
			t.Errorf("%q: the inbox was scanned %d times for one page", statistics, n)
		}
	}
}

func scansOfInbox(t *testing.T, db *postgres.Database) int {
	t.Helper()
	return count(t, db, "SELECT coalesce(idx_scan, 0) + coalesce(seq_scan, 0) FROM pg_stat_all_tables WHERE relid = 'inbox'::regclass")
}

func ids(t *testing.T, db *postgres.Database, query string) (list []domain.ID) {
	t.Helper()
	rows, err := db.SQL().QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		id, err := domain.ParseID(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, id)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}
