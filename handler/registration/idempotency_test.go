package registration_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"outboxd/handler/handlertest"
)

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	s, db := handlertest.StartAPI(t, nil)
	first := s.Register(handlertest.RegisterBody, "Idempotency-Key", `"8e03978e-40d5-43dd"`)
	if first.Status != http.StatusCreated || first.Header.Get("Idempotency-Replayed") != "" {
		t.Fatalf("%d %v: %s", first.Status, first.Header, first.Body)
	}
	t.Run("same again", func(t *testing.T) {
		for _, key := range []string{`"8e03978e-40d5-43dd"`, `8e03978e-40d5-43dd`} {
			again := s.Register(handlertest.RegisterBody, "Idempotency-Key", key)
			if again.Status != first.Status || again.Body != first.Body || again.Header.Get("Location") != first.Header.Get("Location") {
				t.Errorf("%d %s, want %d %s", again.Status, again.Body, first.Status, first.Body)
			}
			if again.Header.Get("Idempotency-Replayed") != "true" {
				t.Error("the repeat is not marked")
			}
		}
	})
	t.Run("same body, written in another way", func(t *testing.T) {
		body := "{ \"password\": \"correct horse battery\",\n\"email\": \"\\u0061da@example.com\" }"
		if again := s.Register(body, "Idempotency-Key", "8e03978e-40d5-43dd"); again.Body != first.Body {
			t.Errorf("%d: %s", again.Status, again.Body)
		}
	})
	for name, body := range map[string]string{
		"other password": strings.Replace(handlertest.RegisterBody, "horse", "house", 1),
		"other e-mail":   strings.Replace(handlertest.RegisterBody, "ada@", "bob@", 1),
	} {
		t.Run(name, func(t *testing.T) {
			p := handlertest.WantProblem(t, s.Register(body, "Idempotency-Key", "8e03978e-40d5-43dd"), http.StatusUnprocessableEntity)
			if !strings.Contains(p.Detail, "another body") || len(p.Errors) != 1 || p.Errors[0].Field != "Idempotency-Key" || p.Errors[0].Location != "header" {
				t.Errorf("problem %+v", p)
			}
		})
	}
	t.Run("other key, same e-mail", func(t *testing.T) {
		handlertest.WantProblem(t, s.Register(handlertest.RegisterBody, "Idempotency-Key", "another"), http.StatusConflict)
		// The refused request has not used up its key.
		if a := s.Register(strings.Replace(handlertest.RegisterBody, "ada@", "bob@", 1), "Idempotency-Key", "another"); a.Status != http.StatusCreated {
			t.Errorf("%d: %s", a.Status, a.Body)
		}
	})
	var users, events int
	if err := db.SQL().QueryRowContext(t.Context(), "SELECT (SELECT count(*) FROM outboxd_example.users), (SELECT count(*) FROM outbox)").Scan(&users, &events); err != nil {
		t.Fatal(err)
	}
	if users != 2 || events != 2 {
		t.Errorf("%d users and %d events, want 2 of each", users, events)
	}
}

func TestIdempotencyKeyAtTheSameTime(t *testing.T) {
	t.Parallel()
	s, db := handlertest.StartAPI(t, nil)
	const requests = 20
	answers := make([]handlertest.Answer, requests)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() { answers[i] = s.Register(handlertest.RegisterBody, "Idempotency-Key", "once") })
	}
	all.Wait()
	fresh := 0
	for _, a := range answers {
		if a.Status != http.StatusCreated || a.Body != answers[0].Body {
			t.Errorf("%d %s, want 201 %s", a.Status, a.Body, answers[0].Body)
		}
		if a.Header.Get("Idempotency-Replayed") == "" {
			fresh++
		}
	}
	if fresh != 1 {
		t.Errorf("%d answers are not marked as repeats, want 1", fresh)
	}
	var users, events int
	if err := db.SQL().QueryRowContext(t.Context(), "SELECT (SELECT count(*) FROM outboxd_example.users), (SELECT count(*) FROM outbox)").Scan(&users, &events); err != nil {
		t.Fatal(err)
	}
	if users != 1 || events != 1 {
		t.Errorf("%d users and %d events, want 1 of each", users, events)
	}
}

func TestSameEmailAtTheSameTime(t *testing.T) {
	t.Parallel()
	s, _ := handlertest.StartAPI(t, nil)
	statuses := make([]int, 8)
	var all sync.WaitGroup
	for i := range statuses {
		all.Go(func() { statuses[i] = s.Register(handlertest.RegisterBody).Status })
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
