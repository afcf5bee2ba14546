package registration_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"outboxd/domain"
	"outboxd/handler/handlertest"
	"outboxd/handler/registration"
)

type userAnswer struct {
	ID            domain.ID `json:"id"`
	Email         string    `json:"email"`
	CreatedAt     time.Time `json:"created_at"`
	Notifications []struct {
		ID      domain.ID  `json:"id"`
		Type    string     `json:"type"`
		Message string     `json:"message"`
		Status  string     `json:"status"`
		SentAt  *time.Time `json:"sent_at"`
	} `json:"notifications"`
}

func TestRegister(t *testing.T) {
	t.Parallel()
	s, db := handlertest.StartAPI(t, nil)
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	before := time.Now().Add(-time.Second)
	a := s.Register(handlertest.RegisterBody, "X-Request-ID", "registration-1", "traceparent", parent)
	if a.Status != http.StatusCreated || a.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %s: %s", a.Status, a.Header.Get("Content-Type"), a.Body)
	}
	user := handlertest.Decode[userAnswer](t, a)
	if user.ID.IsZero() || user.Email != "ada@example.com" || user.CreatedAt.Before(before) || user.CreatedAt.Location() != time.UTC {
		t.Errorf("registered %+v", user)
	}
	var members map[string]any
	if err := json.Unmarshal([]byte(a.Body), &members); err != nil || len(members) != 3 {
		t.Errorf("the answer must have exactly id, email and created_at: %s", a.Body)
	}
	location := a.Header.Get("Location")
	if location != "/api/v1/users/"+user.ID.String() {
		t.Errorf("Location %q", location)
	}

	found := handlertest.Decode[userAnswer](t, s.Get(location))
	if found.ID != user.ID || !found.CreatedAt.Equal(user.CreatedAt) || len(found.Notifications) != 1 {
		t.Fatalf("found %+v", found)
	}
	if n := found.Notifications[0]; n.Type != "USER_REGISTRATION" || n.Status != "PENDING" || n.SentAt != nil ||
		n.Message != "Welcome! Your account has been created successfully." {
		t.Errorf("notification %+v", n)
	}

	var hash, headers string
	if err := db.SQL().QueryRowContext(t.Context(), "SELECT password_hash FROM outboxd_example.users").Scan(&hash); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("hash %q", hash)
	}
	if err := db.SQL().QueryRowContext(t.Context(), "SELECT headers FROM outbox").Scan(&headers); err != nil {
		t.Fatal(err)
	}
	var carried map[string]string
	if err := json.Unmarshal([]byte(headers), &carried); err != nil || carried["traceparent"] != parent || carried["request_id"] != "registration-1" {
		t.Errorf("event headers %s", headers)
	}
	for _, secret := range []string{handlertest.Password, hash} {
		if strings.Contains(a.Body+s.Log.String(), secret) {
			t.Errorf("%q was answered or logged", secret)
		}
	}
}

func TestFindShowsWhatWasSent(t *testing.T) {
	t.Parallel()
	s, db := handlertest.StartAPI(t, nil)
	location := s.Register(handlertest.RegisterBody).Header.Get("Location")
	if _, err := db.SQL().ExecContext(t.Context(), "UPDATE outboxd_example.notifications SET status = 'SENT', sent_at = '2026-03-01 12:00:00+02'"); err != nil {
		t.Fatal(err)
	}
	a := s.Get(location)
	found := handlertest.Decode[userAnswer](t, a)
	want := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	if n := found.Notifications[0]; n.Status != "SENT" || n.SentAt == nil || *n.SentAt != want {
		t.Errorf("notification %+v, want it sent at %v", n, want)
	}
	if _, err := db.SQL().ExecContext(t.Context(), "DELETE FROM outboxd_example.notifications"); err != nil {
		t.Fatal(err)
	}
	if a := s.Get(location); !strings.Contains(a.Body, `"notifications":[]`) {
		t.Errorf("no notifications must be an empty list: %s", a.Body)
	}
}

func TestHeadAnswersWithoutBody(t *testing.T) {
	t.Parallel()
	s, _ := handlertest.StartAPI(t, nil)
	location := s.Register(handlertest.RegisterBody).Header.Get("Location")
	for _, path := range []string{location, "/docs", "/openapi.json"} {
		if a := s.Do(http.MethodHead, path, ""); a.Status != http.StatusOK || a.Body != "" || a.Header.Get("Content-Length") == "0" {
			t.Errorf("HEAD %s: %d, %d bytes, Content-Length %s", path, a.Status, len(a.Body), a.Header.Get("Content-Length"))
		}
	}
}

func TestInvalidTraceparentIsDropped(t *testing.T) {
	t.Parallel()
	s, db := handlertest.StartAPI(t, nil)
	if a := s.Register(handlertest.RegisterBody, "traceparent", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"); a.Status != http.StatusCreated {
		t.Fatalf("%d: %s", a.Status, a.Body)
	}
	var carried bool
	if err := db.SQL().QueryRowContext(t.Context(), "SELECT headers ? 'traceparent' FROM outbox").Scan(&carried); err != nil {
		t.Fatal(err)
	}
	if carried {
		t.Error("an invalid traceparent reached the event")
	}
}

func TestARegistrationIsReportedOnceItIsCommitted(t *testing.T) {
	t.Parallel()
	var reported atomic.Int32
	s, _ := handlertest.StartAPI(t, func(o *registration.Options) { o.Committed = func() { reported.Add(1) } })
	for i, want := range []int{http.StatusCreated, http.StatusConflict} {
		if a := s.Register(handlertest.RegisterBody); a.Status != want {
			t.Fatalf("request %d: %d %s, want %d", i, a.Status, a.Body, want)
		}
		if n := reported.Load(); n != 1 {
			t.Errorf("after request %d, %d registrations were reported, want 1", i, n)
		}
	}
}
