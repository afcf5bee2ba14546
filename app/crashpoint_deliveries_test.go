package app_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/domain/crashpoint"
	"outboxd/domain/setup"
	"outboxd/repository/postgres"
	"outboxd/repository/subscriptions"
)

// orderReceiver remembers which events came to which path, in their order.
type orderReceiver struct {
	url string

	mu   sync.Mutex
	came map[string][]string // by path, IDs of events
}

func newOrderReceiver(t *testing.T) *orderReceiver {
	t.Helper()
	r := &orderReceiver{came: map[string][]string{}}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		path := strings.TrimPrefix(request.URL.Path, "/")
		r.came[path] = append(r.came[path], request.Header.Get("webhook-id"))
	}))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

// firsts are the events that came to a path, in the order in which each came first, and how many came again.
func (r *orderReceiver) firsts(path string) (ids []string, repeats int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := map[string]bool{}
	for _, id := range r.came[path] {
		if seen[id] {
			repeats++
			continue
		}
		seen[id] = true
		ids = append(ids, id)
	}
	return ids, repeats
}

// crashOrdersSQL makes a table of orders, which also has the answers to their cancelling, and a function that emits
// orders. Every second order has a key.
const crashOrdersSQL = `
CREATE TABLE orders (seq bigserial PRIMARY KEY, event_id uuid NOT NULL, key text, answer text);
CREATE FUNCTION emit_orders(n integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..n LOOP
        INSERT INTO orders (event_id, key) SELECT outboxd.emit('order:paid', '{}', ordering_key => k), k FROM (SELECT CASE WHEN i % 2 = 0 THEN 'order' || i % 6 END AS k) AS key;
    END LOOP;
END $$`

// deliveryCrashes is a system whose processes die while they deliver.
type deliveryCrashes struct {
	*crashes
	receiver *orderReceiver
	db       *postgres.Database
	store    *subscriptions.Store
}

func newDeliveryCrashes(t *testing.T, tagged string) *deliveryCrashes {
	t.Helper()
	c := &deliveryCrashes{crashes: newCrashes(t, tagged), receiver: newOrderReceiver(t)}
	c.db = schematest.Connect(t, c.database)
	c.store = subscriptions.New(c.db)
	c.exec(crashOrdersSQL)
	return c
}

// subscriptions returns three subscriptions: one instead of the queue, one that keeps the order of keys, and one
// that does not.
func (c *deliveryCrashes) subscriptions() []setup.Subscription {
	list := make([]setup.Subscription, 3)
	for i, name := range []string{"instead", "keyed", "loose"} {
		list[i] = setup.Subscription{Name: name, Types: []string{"order:*"}, URL: c.receiver.url + "/" + name, InsteadOfQueue: name == "instead"}
		if name == "keyed" {
			list[i].Ordering = setup.OrderingKey
		}
		list[i] = list[i].WithDefaults()
	}
	return list
}

func (c *deliveryCrashes) daemon(roles string) []string {
	return append(c.crashes.daemon(roles), "--deliver-allow=127.0.0.0/8", "--deliver-check-interval=100ms")
}

// takeBack cancels every fifth order, unless the order has an answer already.
func (c *deliveryCrashes) takeBack() {
	c.t.Helper()
	c.exec("UPDATE orders SET answer = outboxd.cancel(event_id) WHERE answer IS NULL AND seq % 5 = 0")
}

// ordersArrive lets processes that do not die finish, and checks every order against what was promised of it.
func (c *deliveryCrashes) ordersArrive() {
	c.t.Helper()
	expireLeases(c.t, c.redis)
	daemon := c.launch("", c.daemon("relay,worker")...)
	// Asynq gives back the tasks of killed workers only after a while.
	within(c.t, 2*patience, "the leader has carried out what producers asked for", func() bool { return c.count("SELECT count(*) FROM outbox_requests") == 0 })
	// The leader may have cancelled an order with the answer 'requested' after attempts at its deliveries.
	c.exec("UPDATE orders o SET answer = 'cancelled by the leader' WHERE answer = 'requested' AND EXISTS (SELECT FROM outbox_cancelled x WHERE x.id = o.event_id)")
	within(c.t, 2*patience, "every order is delivered or cancelled", func() bool {
		return c.count(`SELECT count(*) FROM orders o WHERE coalesce(answer NOT LIKE 'cancelled%', true) AND EXISTS (
			SELECT FROM outbox_subscriptions s WHERE NOT EXISTS (SELECT FROM inbox i WHERE i.event_id = outbox_delivery_id(o.event_id, s.id)))`) == 0
	})
	eventually(c.t, "nothing waits, and every order is confirmed", func() bool {
		return c.count(`SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM outbox_held WHERE subscription IS NOT NULL) + (SELECT count(*) FROM outbox_awaited) + (SELECT count(*) FROM outbox_replays WHERE ended_at IS NULL) + (SELECT count(*) FROM outbox_requests)
			+ (SELECT count(*) FROM orders o WHERE NOT EXISTS (SELECT FROM inbox i WHERE i.event_id = o.event_id) AND EXISTS (SELECT FROM outbox_sent s WHERE s.id = o.event_id AND s.split = 'instead'))`) == 0
	})
	c.end(daemon, syscall.SIGTERM)
	var wanted, cancelled []string
	keys := map[string]string{}
	rows, err := c.conn.Query(c.t.Context(), "SELECT event_id::text, coalesce(key, ''), coalesce(answer, '') FROM orders ORDER BY seq")
	if err != nil {
		c.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, key, answer string
		if err := rows.Scan(&id, &key, &answer); err != nil {
			c.t.Fatal(err)
		}
		keys[id] = key
		switch answer {
		case "cancelled":
			cancelled = append(cancelled, id)
		case "cancelled by the leader":
		default:
			wanted = append(wanted, id)
		}
	}
	c.t.Logf("%d orders, %d cancelled", len(wanted)+len(cancelled), len(cancelled))
	for _, s := range c.subscriptions() {
		came, repeats := c.receiver.firsts(s.Name)
		c.t.Logf("%s: %d came, %d of them again", s.Name, len(came), repeats)
		for _, id := range wanted {
			if !slices.Contains(came, id) {
				c.t.Errorf("order %s did not come to %s", id, s.Name)
			}
		}
		for _, id := range cancelled {
			if slices.Contains(came, id) {
				c.t.Errorf("order %s was cancelled and came to %s", id, s.Name)
			}
		}
		if s.Ordering != setup.OrderingKey {
			continue
		}
		last := map[string]int{}
		for _, id := range came {
			at := slices.Index(wanted, id)
			if key := keys[id]; key != "" && at >= 0 {
				if at < last[key] {
					c.t.Errorf("order %s of key %s came too late", id, key)
				}
				last[key] = at
			}
		}
	}
	r := execute(c.t, nil, "verify", "--database-url="+c.database, "--redis-url="+c.redis)
	if r.code != 0 || !strings.Contains(r.stdout, "order:paid") {
		c.t.Errorf("verify ends with %d:\n%s%s", r.code, r.stdout, r.stderr)
	}
}

// TestCrashPointsOfDeliveries kills real processes at the crash points of deliveries and
// replays.
func TestCrashPointsOfDeliveries(t *testing.T) {
	t.Parallel()
	tagged := withCrashPoints(t)
	t.Run("on their way", func(t *testing.T) {
		t.Parallel()
		c := newDeliveryCrashes(t, tagged)
		if _, err := c.store.Apply(t.Context(), &domain.Action{Actor: "test"}, c.subscriptions()); err != nil {
			t.Fatal(err)
		}
		for _, point := range []crashpoint.Point{
			crashpoint.RelayClaimed, crashpoint.RelayPublished, crashpoint.RelaySettled, crashpoint.RelayCommitted,
			crashpoint.WorkerAsked, crashpoint.WorkerSent, crashpoint.WorkerCommitted,
		} {
			var nothing string
			c.scan(&nothing, "SELECT emit_orders(20)::text")
			if point == crashpoint.WorkerAsked {
				c.takeBack() // before a relay has seen them
			}
			c.dies(point, c.daemon("relay,worker")...)
			c.takeBack()
		}
		c.ordersArrive()
	})
	t.Run("of a replay", func(t *testing.T) {
		t.Parallel()
		c := newDeliveryCrashes(t, tagged)
		var nothing string
		c.scan(&nothing, "SELECT emit_orders(40)::text")
		c.exec("UPDATE orders SET answer = outboxd.cancel(event_id) WHERE seq % 5 = 0")
		c.exec("INSERT INTO outbox (event_type, payload) SELECT 'other', '' FROM generate_series(1, 6000)") // more than one piece
		relay := c.launch("", c.daemon("relay")...)
		eventually(t, "all is relayed", func() bool { return c.count("SELECT count(*) FROM outbox") == 0 })
		c.end(relay, syscall.SIGTERM)
		list := c.subscriptions()
		list[0].InsteadOfQueue = false
		if _, err := c.store.Apply(t.Context(), &domain.Action{Actor: "test"}, list); err != nil {
			t.Fatal(err)
		}
		replay := func(name string) []string {
			return []string{"subscriptions", "replay", name, "--since=1h", "--yes", "--database-url=" + c.database}
		}
		for _, name := range []string{"keyed", "loose"} {
			for _, point := range []crashpoint.Point{crashpoint.DeliveriesMade, crashpoint.DeliveriesKept, crashpoint.DeliveriesOpened} {
				c.dies(point, replay(name)...)
			}
		}
		c.dies(crashpoint.DeliveriesKept, replay("instead")...) // a relay continues the replay after a while
		c.exec("UPDATE outbox_replays SET moved_at = moved_at - interval '1 minute'")
		c.ordersArrive()
	})
}
