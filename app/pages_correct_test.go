package app_test

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
)

// TestALargePayloadIsCorrected sends the form for a corrected copy with payloads up to the outbox's limit, in both ways
// in which forms are sent, and somewhat above it.
func TestALargePayloadIsCorrected(t *testing.T) {
	t.Parallel()
	const limit = 2 << 20 // more than the monitor usually reads
	databaseURL := schematest.Database(t)
	p := start(t, append(on(databaseURL, servertest.Redis(t), t.TempDir()), "--roles=relay,monitor", "--relay-max-payload=2MiB", "--admin-token="+adminToken)...)
	db := openLedger(t, databaseURL)
	var event string
	db.scan(&event, `INSERT INTO outbox (event_type, payload, available_at) VALUES ('test:large', 'x', now() + interval '1 day') RETURNING id::text`)
	send := func(kind, body string) (status int, said string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.monitor+"/events/"+event+"/correct", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", kind)
		request.Header.Set("Accept", "text/html")
		request.Header.Set("Authorization", "Bearer "+adminToken)
		response, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(text)
	}
	file := func(payload string) (kind, body string) {
		t.Helper()
		var form bytes.Buffer
		w := multipart.NewWriter(&form)
		part, err := w.CreateFormFile("file", "payload")
		if err == nil {
			_, err = io.WriteString(part, payload)
		}
		if err == nil {
			err = w.WriteField("reason", "it was too short")
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		return w.FormDataContentType(), form.String()
	}
	encoded := func(payload string) (kind, body string) {
		return "application/x-www-form-urlencoded", url.Values{"payload": {payload}, "reason": {"it was too short"}}.Encode()
	}
	for name, way := range map[string]func(string) (kind, body string){"as a file": file, "percent-encoded": encoded} {
		if status, said := send(way(strings.Repeat("\n", limit))); status != http.StatusSeeOther {
			t.Errorf("%s, a payload of the limit: %d %.1000s", name, status, said)
		}
		if status, said := send(way(strings.Repeat("\n", limit+1))); status != http.StatusRequestEntityTooLarge ||
			!strings.Contains(said, "The event&#39;s payload has 2,097,153 bytes, and the outbox takes at most 2 MiB.") || !strings.Contains(said, `data-most="2097152"`) {
			t.Errorf("%s, a byte more: %d %.3000s", name, status, said)
		}
	}
	var copies int
	db.scan(&copies, fmt.Sprintf(`SELECT count(*) FROM (SELECT payload FROM outbox UNION ALL SELECT payload FROM outbox_sent) AS e WHERE octet_length(payload) = %d`, limit))
	if copies != 2 {
		t.Errorf("%d copies were emitted, want 2", copies)
	}
	p.stop()
}
