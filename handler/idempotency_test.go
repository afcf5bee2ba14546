package handler_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
)

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	s, db := startAPI(t, nil)
	first := s.register(registerBody, "Idempotency-Key", `"8e03978e-40d5-43dd"`)
	if first.status != http.StatusCreated || first.header.Get("Idempotency-Replayed") != "" {
		t.Fatalf("%d %v: %s", first.status, first.header, first.body)
	}
	t.Run("same again", func(t *testing.T) {
		for _, key := range []string{`"8e03978e-40d5-43dd"`, `8e03978e-40d5-43dd`} {
			again := s.register(registerBody, "Idempotency-Key", key)
			if again.status != first.status || again.body != first.body || again.header.Get("Location") != first.header.Get("Location") {
				t.Errorf("%d %s, want %d %s", again.status, again.body, first.status, first.body)
			}
			if again.header.Get("Idempotency-Replayed") != "true" {
				t.Error("the repeat is not marked")
			}
		}
	})
	t.Run("same body, written in another way", func(t *testing.T) {
		body := "{ \"password\": \"correct horse battery\",\n\"email\": \"\\u0061da@example.com\" }"
		if again := s.register(body, "Idempotency-Key", "8e03978e-40d5-43dd"); again.body != first.body {
			t.Errorf("%d: %s", again.status, again.body)
		}
	})
	for name, body := range map[string]string{
		"other password": strings.Replace(registerBody, "horse", "house", 1),
		"other e-mail":   strings.Replace(registerBody, "ada@", "bob@", 1),
	} {
		t.Run(name, func(t *testing.T) {
			p := wantProblem(t, s.register(body, "Idempotency-Key", "8e03978e-40d5-43dd"), http.StatusUnprocessableEntity)
			if !strings.Contains(p.Detail, "another body") || len(p.Errors) != 1 || p.Errors[0].Field != "Idempotency-Key" || p.Errors[0].Location != "header" {
				t.Errorf("problem %+v", p)
			}
		})
	}
	t.Run("other key, same e-mail", func(t *testing.T) {
		wantProblem(t, s.register(registerBody, "Idempotency-Key", "another"), http.StatusConflict)
		// The refused request has not used up its key.
		if a := s.register(strings.Replace(registerBody, "ada@", "bob@", 1), "Idempotency-Key", "another"); a.status != http.StatusCreated {
			t.Errorf("%d: %s", a.status, a.body)
		}
	})
	var users, events int
	if err := db.SQL().QueryRowContext(t.Context(), "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM outbox)").Scan(&users, &events); err != nil {
		t.Fatal(err)
	}
	if users != 2 || events != 2 {
		t.Errorf("%d users and %d events, want 2 of each", users, events)
	}
}

func TestIdempotencyKeyAtTheSameTime(t *testing.T) {
	t.Parallel()
	s, db := startAPI(t, nil)
	const requests = 20
	answers := make([]answer, requests)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() { answers[i] = s.register(registerBody, "Idempotency-Key", "once") })
	}
	all.Wait()
	fresh := 0
	for _, a := range answers {
		if a.status != http.StatusCreated || a.body != answers[0].body {
			t.Errorf("%d %s, want 201 %s", a.status, a.body, answers[0].body)
		}
		if a.header.Get("Idempotency-Replayed") == "" {
			fresh++
		}
	}
	if fresh != 1 {
		t.Errorf("%d answers are not marked as repeats, want 1", fresh)
	}
	var users, events int
	if err := db.SQL().QueryRowContext(t.Context(), "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM outbox)").Scan(&users, &events); err != nil {
		t.Fatal(err)
	}
	if users != 1 || events != 1 {
		t.Errorf("%d users and %d events, want 1 of each", users, events)
	}
}

func TestSameEmailAtTheSameTime(t *testing.T) {
	t.Parallel()
	s, _ := startAPI(t, nil)
	statuses := make([]int, 8)
	var all sync.WaitGroup
	for i := range statuses {
		all.Go(func() { statuses[i] = s.register(registerBody).status })
	}
	all.Wait()
	created := 0
	for _, status := range statuses {
		switch status {
		case http.StatusCreated:
			created++
		case http.StatusConflict:
		default:
			t.Errorf("status %d, want 201 or 409", status)
		}
	}
	if created != 1 {
		t.Errorf("%d registered, want 1", created)
	}
}
