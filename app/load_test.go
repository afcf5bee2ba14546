package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const usersPath = "/api/v1/users"

// load is a number of clients that register users one after another, until it is finished or the API cannot be reached.
type load struct {
	t       *testing.T
	target  string
	client  *http.Client
	clients sync.WaitGroup
	ending  atomic.Bool

	mu         sync.Mutex
	registered []string // IDs of the users that were answered with 201
	other      []string // answers with another status
	unanswered int      // requests whose outcome nobody knows
	refused    int      // requests that a busy API answered with 503; some of them may have been committed
}

var loads atomic.Int64

// startLoad lets clients register users at an API.
func startLoad(t *testing.T, api string, clients int) *load {
	t.Helper()
	l := &load{t: t, target: api + usersPath, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}, Timeout: 20 * time.Second}}
	number := loads.Add(1)
	for i := range clients {
		l.clients.Go(func() {
			for n := 0; !l.ending.Load(); n++ {
				if !l.register(fmt.Sprintf("load%d-%d-%d@example.com", number, i, n)) {
					return
				}
			}
		})
	}
	t.Cleanup(func() { l.finish() })
	return l
}

// register reports whether the request was answered.
func (l *load) register(email string) bool {
	status, body, err := post(l.client, l.target, map[string]string{"email": email, "password": "correct horse battery"})
	l.mu.Lock()
	defer l.mu.Unlock()
	var user struct{ ID string }
	switch {
	case err != nil:
		l.unanswered++
		return false
	case status == http.StatusCreated && json.Unmarshal(body, &user) == nil:
		l.registered = append(l.registered, user.ID)
	case status == http.StatusServiceUnavailable:
		l.refused++
	default:
		l.other = append(l.other, fmt.Sprintf("%d %s", status, body))
	}
	return true
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.registered)
}

// await waits until so many more users are registered.
func (l *load) await(more int) {
	l.t.Helper()
	want := l.count() + more
	eventually(l.t, fmt.Sprintf("%d more users are registered", more), func() bool { return l.count() >= want })
}

// finish ends the load, and returns the IDs of the users whose registration was answered with 201. It is also
// called at the end of the test.
func (l *load) finish() []string {
	l.t.Helper()
	l.ending.Store(true)
	l.clients.Wait()
	l.client.CloseIdleConnections()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.other) > 0 {
		l.t.Errorf("%d registrations were answered otherwise than by 201, such as: %s", len(l.other), l.other[0])
		l.other = nil
	}
	return slices.Clone(l.registered)
}

func post(client *http.Client, url string, document any) (status int, body []byte, err error) {
	request, err := json.Marshal(document)
	if err != nil {
		return 0, nil, err
	}
	response, err := client.Post(url, "application/json", bytes.NewReader(request))
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err = io.ReadAll(response.Body)
	return response.StatusCode, body, err
}

// browse returns a client for single requests.
func browse(t *testing.T) *http.Client {
	client := &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// register registers one user, which must succeed, and returns its ID.
func register(t *testing.T, api, email string) string {
	t.Helper()
	status, body, err := post(browse(t), api+usersPath, map[string]string{"email": email, "password": "correct horse battery"})
	var user struct{ ID string }
	if err != nil || status != http.StatusCreated || json.Unmarshal(body, &user) != nil || user.ID == "" {
		t.Fatalf("register %s: %d %s %v", email, status, body, err)
	}
	return user.ID
}

// get returns the status and the body of a page; 0 if there is no answer.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	client := browse(t)
	// Else a test that asks until something is true keeps more connections open than the monitor allows.
	defer client.CloseIdleConnections()
	response, err := client.Get(url)
	if err != nil {
		t.Log(err)
		return 0, ""
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// getJSON reads a document into v and returns the status.
func getJSON(t *testing.T, url string, v any) int {
	t.Helper()
	status, body := get(t, url)
	if status == 0 {
		return 0
	}
	if err := json.Unmarshal([]byte(body), v); err != nil {
		t.Fatalf("%s: %v: %s", url, err, body)
	}
	return status
}
