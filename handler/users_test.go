package handler_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"outboxd/domain"
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
	s, db := startAPI(t, nil)
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	before := time.Now().Add(-time.Second)
	a := s.register(registerBody, "X-Request-ID", "registration-1", "traceparent", parent)
	if a.status != http.StatusCreated || a.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %s: %s", a.status, a.header.Get("Content-Type"), a.body)
	}
	user := decode[userAnswer](t, a)
	if user.ID.IsZero() || user.Email != "ada@example.com" || user.CreatedAt.Before(before) || user.CreatedAt.Location() != time.UTC {
		t.Errorf("registered %+v", user)
	}
	var members map[string]any
	if err := json.Unmarshal([]byte(a.body), &members); err != nil || len(members) != 3 {
		t.Errorf("the answer must have exactly id, email and created_at: %s", a.body)
	}
	location := a.header.Get("Location")
	if location != "/api/v1/users/"+user.ID.String() {
		t.Errorf("Location %q", location)
	}

	found := decode[userAnswer](t, s.get(location))
	if found.ID != user.ID || !found.CreatedAt.Equal(user.CreatedAt) || len(found.Notifications) != 1 {
		t.Fatalf("found %+v", found)
	}
	if n := found.Notifications[0]; n.Type != "USER_REGISTRATION" || n.Status != "PENDING" || n.SentAt != nil ||
		n.Message != "Welcome! Your account has been created successfully." {
		t.Errorf("notification %+v", n)
	}

	var hash, headers string
	if err := db.SQL().QueryRowContext(t.Context(), "SELECT password_hash FROM users").Scan(&hash); err != nil {
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
	for _, secret := range []string{password, hash} {
		if strings.Contains(a.body+s.log.String(), secret) {
			t.Errorf("%q was answered or logged", secret)
		}
	}
}

func TestFindShowsWhatWasSent(t *testing.T) {
	t.Parallel()
	s, db := startAPI(t, nil)
	location := s.register(registerBody).header.Get("Location")
	if _, err := db.SQL().ExecContext(t.Context(), "UPDATE notifications SET status = 'SENT', sent_at = '2026-03-01 12:00:00+02'"); err != nil {
		t.Fatal(err)
	}
	a := s.get(location)
	found := decode[userAnswer](t, a)
	want := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	if n := found.Notifications[0]; n.Status != "SENT" || n.SentAt == nil || *n.SentAt != want {
		t.Errorf("notification %+v, want it sent at %v", n, want)
	}
	if _, err := db.SQL().ExecContext(t.Context(), "DELETE FROM notifications"); err != nil {
		t.Fatal(err)
	}
	if a := s.get(location); !strings.Contains(a.body, `"notifications":[]`) {
		t.Errorf("no notifications must be an empty list: %s", a.body)
	}
}

func TestHeadAnswersWithoutBody(t *testing.T) {
	t.Parallel()
	s, _ := startAPI(t, nil)
	location := s.register(registerBody).header.Get("Location")
	for _, path := range []string{location, "/docs", "/openapi.json"} {
		if a := s.do(http.MethodHead, path, ""); a.status != http.StatusOK || a.body != "" || a.header.Get("Content-Length") == "0" {
			t.Errorf("HEAD %s: %d, %d bytes, Content-Length %s", path, a.status, len(a.body), a.header.Get("Content-Length"))
		}
	}
}

func TestInvalidTraceparentIsDropped(t *testing.T) {
	t.Parallel()
	s, db := startAPI(t, nil)
	if a := s.register(registerBody, "traceparent", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"); a.status != http.StatusCreated {
		t.Fatalf("%d: %s", a.status, a.body)
	}
	var carried bool
	if err := db.SQL().QueryRowContext(t.Context(), "SELECT headers ? 'traceparent' FROM outbox").Scan(&carried); err != nil {
		t.Fatal(err)
	}
	if carried {
		t.Error("an invalid traceparent reached the event")
	}
}
