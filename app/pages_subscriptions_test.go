package app_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/domain/setup"
	"outboxd/repository/subscriptions"
)

// TestDeliveriesAreShown has one event with deliveries that are delivered, dead, failing, paused and held.
func TestDeliveriesAreShown(t *testing.T) {
	t.Parallel()
	database, redis := schematest.Database(t), servertest.Redis(t)
	p := start(t, append(on(database, redis, t.TempDir()), "--roles=relay,worker,monitor", "--deliver-allow=127.0.0.0/8", "--deliver-check-interval=100ms")...)
	db := schematest.Connect(t, database)
	store := subscriptions.New(db)
	ada := &domain.Action{Actor: "ada@here", Reason: "the receiver moves"}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := map[string]int{"/good": 204, "/bad": 404, "/failing": 500}[r.URL.Path]
		w.WriteHeader(status)
	}))
	t.Cleanup(server.Close)
	var list []setup.Subscription
	for _, name := range []string{"bad", "failing", "good", "paused", "other"} {
		s := setup.Subscription{Name: name, Types: []string{"user:*"}, URL: server.URL + "/" + name, Ordering: setup.OrderingKey}
		if name == "other" {
			s.Types = []string{"order"}
		}
		list = append(list, s.WithDefaults())
	}
	if _, err := store.Apply(t.Context(), ada, list); err != nil {
		t.Fatal(err)
	}
	if err := store.Pause(t.Context(), ada, "paused"); err != nil {
		t.Fatal(err)
	}
	emit := func() (id string) {
		t.Helper()
		if err := db.SQL().QueryRowContext(t.Context(), `SELECT outboxd.emit('user:new', '{}', ordering_key => 'k')`).Scan(&id); err != nil {
			t.Fatal(err)
		}
		return id
	}
	first, second := emit(), emit()
	type shown struct {
		Deliveries []struct {
			ID, Subscription, State, Description string
			Attempts                             int
			LastStatus                           string  `json:"last_status"`
			NextAt                               *string `json:"next_at"`
		}
	}
	show := func(id string, args ...string) string {
		t.Helper()
		r := execute(t, nil, append([]string{"events", "show", id, "--database-url=" + database, "--redis-url=" + redis}, args...)...)
		if r.code != 0 {
			t.Fatal(r.stderr)
		}
		return r.stdout
	}
	deliveries := func(id string) (states string, all shown) {
		t.Helper()
		if err := json.Unmarshal([]byte(show(id, "-o", "json")), &all); err != nil {
			t.Fatal(err)
		}
		for _, d := range all.Deliveries {
			states += d.Subscription + " " + d.State + ": " + d.Description + "\n"
		}
		return states, all
	}
	const want = `bad dead: dead; outboxd dead replay sends it again
failing in flight: waits for the next attempt
good confirmed: delivered
paused in flight: waits: ada@here paused the subscription
`
	eventually(t, "each delivery has got as far as it gets", func() bool { states, _ := deliveries(first); return states == want })
	_, all := deliveries(first)
	failing, good := all.Deliveries[1], all.Deliveries[2]
	if !strings.Contains(failing.LastStatus, "status 500") || failing.Attempts < 1 || failing.NextAt == nil || !strings.Contains(good.LastStatus, "status 204") || good.Attempts != 1 {
		t.Errorf("%+v\n%+v", failing, good)
	}
	if states, _ := deliveries(second); !strings.Contains(states, "paused held: waits: ada@here paused the subscription") || !strings.Contains(states, "failing held: waits for the turn of its ordering key") {
		t.Errorf("of the second event:\n%s", states)
	}
	for _, text := range []string{"SUBSCRIPTION", "waits: ada@here paused the subscription", "status 500"} {
		if !strings.Contains(show(first), text) {
			t.Errorf("%q is not in\n%s", text, show(first))
		}
	}
	if text := show(good.ID); !strings.Contains(text, "event "+first+" to subscription good") || strings.Contains(text, "SUBSCRIPTION") {
		t.Errorf("of a delivery:\n%s", text)
	}
	page := func(path string, texts ...string) {
		t.Helper()
		status, body := get(t, p.monitor+path)
		for _, text := range texts {
			if status != http.StatusOK || !strings.Contains(body, text) {
				t.Errorf("%s: status %d, and %q is not in\n%s", path, status, text, body)
			}
		}
	}
	page("/events/"+first, `<a href="../subscriptions/failing">`, `<a href="../events/`+good.ID+`">`, "ada@here paused the subscription", "status 500")
	page("/events/"+good.ID, `<a href="../events/`+first+`">`, `<a href="../subscriptions/good">`)
	page("/subscriptions", "good", "paused", "other", "0, and 1 held")
	page("/subscriptions/paused", "Paused by ada@here", "the receiver moves", "held for their key")
	page("/subscriptions/bad", `<dt>Dead</dt><dd><a href="../dead?queue=subscription%3Abad">1</a>`)
	client := browse(t)
	for range 8 { // without a key, so that they are attempted at once
		if _, err := db.SQL().ExecContext(t.Context(), `SELECT outboxd.emit('user:new', '{}')`); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the page says that the receiver is down", func() bool {
		response, err := client.Get(p.monitor + "/subscriptions/failing")
		if err != nil {
			return false
		}
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		return err == nil && strings.Contains(string(body), "The receiver has been down since")
	})
	if status, _ := get(t, p.monitor+"/subscriptions/nobody"); status != http.StatusNotFound {
		t.Errorf("status %d of a subscription that is not there", status)
	}
}
