package deliver_test

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"outboxd/domain"
	"outboxd/jobs/deliver"
)

// received is a request as a receiver got it.
type received struct {
	header http.Header
	body   []byte
}

// receiver is an HTTP server that keeps the requests it gets, and answers
// with a handler of the test.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	requests []received
}

func newReceiver(t *testing.T, answer http.HandlerFunc) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return
		}
		r.mu.Lock()
		r.requests = append(r.requests, received{request.Header.Clone(), body})
		r.mu.Unlock()
		if answer != nil {
			answer(w, request)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) got() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests
}

// status answers with a status, and with headers: name, value, …
func status(code int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// here returns a Guard that allows 127.0.0.0/8, where the tests' servers
// listen.
func here() *deliver.Guard { return deliver.NewGuard(netip.MustParsePrefix("127.0.0.0/8")) }

func newSender(t *testing.T) *deliver.Sender {
	t.Helper()
	s := deliver.NewSender(deliver.SenderOptions{Guard: here(), Connections: 4})
	t.Cleanup(s.Close)
	return s
}

// secretFile writes a secret and returns the reference to it.
func secretFile(t *testing.T, key string) (reference, secret string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	secret = "whsec_" + base64.StdEncoding.EncodeToString([]byte(key))
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return "file:" + path, secret
}

func sample() deliver.Delivery {
	return deliver.Delivery{
		EventID: domain.ID{1, 2, 3, 15: 9}, Type: "user:created", Queue: "default", Payload: []byte(`{"name": "Zoë", "n": 1}`),
		Headers: map[string]string{
			"tenant": "blue", "Strange name:": "1\n2 ü %", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		},
		CreatedAt: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), OrderingKey: "customer-3", Attempt: 2,
	}
}
