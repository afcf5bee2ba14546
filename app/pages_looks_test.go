package app_test

import (
	"net/url"
	"strings"
	"testing"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
)

// TestPagesAreForEverybody looks at the pages other than the overview as wide screens and telephones show them, in
// light and dark, with and without the token. Without -screenshots it looks at half of the combinations. axe-core
// finds no barrier, and no page scrolls to the side.
func TestPagesAreForEverybody(t *testing.T) {
	t.Parallel()
	databaseURL := schematest.Database(t)
	p := start(t, append(on(databaseURL, servertest.Redis(t), t.TempDir()), "--roles=api,monitor", "--admin-token="+adminToken)...)
	db := schematest.Connect(t, databaseURL).SQL()
	word, refused := strings.Repeat("long", 40), "connect to mail.example.com:smtp: "+strings.Repeat("refused", 30)
	ask := func(query string, args ...any) (answer string) {
		t.Helper()
		if err := db.QueryRowContext(t.Context(), query, args...).Scan(&answer); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		return answer
	}
	waiting := ask(`SELECT outboxd.emit('account:renamed', jsonb_build_object('name', $1::text), queue => 'low', ordering_key => $1::text,
		headers => jsonb_build_object($1::text, $1::text))::text`, word)
	dead := ask(`INSERT INTO outbox_dead (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, stage, error)
		SELECT outbox_new_id(), type, 'x', '{}', 'default', now(), 25, 0, now(), 'worker', $2::text FROM unnest(ARRAY['email:send_notification', $1::text]) AS type
		RETURNING id::text`, word, refused)
	ask(`INSERT INTO outbox_actions (actor, action, filter, reason, events) VALUES ('ada@example.com', 'replay', jsonb_build_object('type', $1::text), $1::text, 1)
		RETURNING ''`, word)

	ask(`INSERT INTO outbox_subscriptions (name, types, patterns, headers, url, format, timeout_ms, concurrency, attempts, retry_max_ms, ordering, paused_at, paused_by, pause_reason)
		VALUES ('crm', ARRAY[$1::text], ARRAY[$1::text], jsonb_build_object('region', $1::text), 'https://crm.example.com/' || $1, 'raw', 10000, 10, 12, 3600000, 'key', now(), 'ada@example.com', $1) RETURNING ''`, word)

	ask(`INSERT INTO outbox_type_samples (at, event_type, queue, seconds, confirmed, failed, died, delay_p50, delay_p99, queued)
		SELECT now() - n * interval '1 minute', kind, queue, 60, 6000 * n, n, 0, 0.01, 1.5, waited FROM generate_series(0, 9) n,
		(VALUES ('', '', NULL::bigint), ('account:renamed', 'low', NULL), ($1::text, $1::text, NULL), ('', 'low', 12500)) AS pairs (kind, queue, waited) RETURNING ''`, word)
	ask(`INSERT INTO outbox_held (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, ordering_key, ordering_position, held_at)
		SELECT outbox_new_id(), 'account:renamed', '', '{}', 'low', now(), 0, 0, now(), $1::text, 1000000, now() - interval '2 hours' RETURNING ''`, word)
	ask(`INSERT INTO outbox_schedules (name, cron, time_zone, missed, event_type, payload, next_at, paused_at, paused_by, pause_reason)
		VALUES ('nightly', '0 3 * * 1-5', 'America/Argentina/ComodRivadavia', 'once', $1::text, '', now() + interval '1 hour', now(), 'ada@example.com', $1) RETURNING ''`, word)
	ask(`INSERT INTO outbox_schedules (name, cron, time_zone, missed, event_type, payload, next_at, last_at, emitted)
		VALUES ('weekly-digest', '0 8 * * 1-5', 'America/Argentina/Buenos_Aires', 'once', 'digest:send', '', now() + interval '1 hour', now(), 12500) RETURNING ''`)

	group := url.Values{"type": {"email:send_notification"}, "error-form": {refused}}.Encode()
	pages := []struct{ name, path, shows string }{
		{"events", "/events", "account:renamed"},
		{"events-wrong", "/events?since=yesterday", "is not a time"},
		{"event", "/events/" + waiting, "Emitted"},
		{"event-dead", "/events/" + dead, "Attempts"},
		{"dead", "/dead", "ada@example.com"},
		{"subscriptions", "/subscriptions", "crm"},
		{"subscription", "/subscriptions/crm", "Paused by ada@example.com"},
		{"dead-group", "/dead/group?" + group, dead},
		{"dead-change", "/dead/change?action=replay&id=" + dead, "Replay 1 dead letter"},
		{"types", "/types", "account:renamed"},
		{"type", "/types?type=account:renamed&window=day", "Emitted today"},
		{"queues", "/queues", "low"},
		{"queue", "/queues?queue=low", "Waited in Redis"},
		{"queue-change", "/queues/change?action=pause&queue=low", "Pause low"},
		{"workers", "/workers", "No worker runs"},
		{"keys", "/keys", "delayed until|on its way"},
		{"schedules", "/schedules", "Paused since"},
	}
	b := startBrowser(t)
	look := func(who, scheme string) {
		tab := b.open(strings.TrimPrefix(p.monitor, "http://"))
		tab.prefer(scheme)
		for n, page := range pages {
			// Half of the looks, because they take long: each page in both schemes and by both people, and neighbours,
			// which share their parts, in the other combination. Screenshots show all.
			if *screenshots == "" && (n%2 == 0) != ((who == "reader") == (scheme == "light")) {
				continue
			}
			tab.visit(page.path)
			tab.await("main", page.shows)
			tab.wantAccessible()
			tab.wantForms(page.path)
			for _, width := range []int{1440, 1280, 1160, 1024} {
				tab.MustSetViewport(width, 800, 1, false)
				tab.wantNoWiderThan(width, page.path+" in "+scheme)
			}
			tab.wantNarrow(page.path + " in " + scheme)
			tab.wantAccessible()
			tab.see("look-" + page.name + "-" + who + "-" + scheme)
		}
		tab.wantQuiet("422")
	}
	look("reader", "light")
	look("reader", "dark")
	tab := b.open(strings.TrimPrefix(p.monitor, "http://"))
	signIn(tab)
	tab.measure("/events", "table")
	tab.measure("/dead", "table")
	look("writer", "light")
	look("writer", "dark")
	p.stop()
}
