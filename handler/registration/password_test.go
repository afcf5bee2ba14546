package registration_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"outboxd/domain"
	"outboxd/handler/handlertest"
	"outboxd/handler/registration"
)

func TestHasher(t *testing.T) {
	t.Parallel()
	h := registration.NewHasher(2, time.Minute)
	hash, err := h.Hash(t.Context(), handlertest.Password)
	if err != nil || !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatalf("%q, %v", hash, err)
	}
	if other, _ := h.Hash(t.Context(), handlertest.Password); other == hash {
		t.Error("two hashes of one password are equal: there is no salt")
	}
	for offered, want := range map[string]bool{handlertest.Password: true, "Correct horse battery": false, "": false} {
		if got, err := h.Matches(t.Context(), offered, hash); err != nil || got != want {
			t.Errorf("%q matches: %v, %v", offered, got, err)
		}
	}
	if _, err := h.Matches(t.Context(), handlertest.Password, "plain"); err == nil || strings.Contains(err.Error(), "plain") {
		t.Errorf("a broken hash: %v", err)
	}
}

func TestHasherLetsFewWorkAndABoundedNumberWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := registration.NewHasher(1, 5*time.Second)
		release := h.Occupy()
		ctx, cancel := context.WithCancel(t.Context())
		var waiting sync.WaitGroup
		for range h.Room() {
			waiting.Go(func() {
				if _, err := h.Hash(ctx, handlertest.Password); domain.ErrorCode(err) != domain.CodeUnavailable {
					t.Errorf("waited in vain: %v, want unavailable", err)
				}
			})
		}
		synctest.Wait()
		if h.Waiting() != h.Room() {
			t.Fatalf("%d wait, want %d", h.Waiting(), h.Room())
		}
		began := time.Now()
		if _, err := h.Hash(ctx, handlertest.Password); domain.ErrorCode(err) != domain.CodeUnavailable || time.Since(began) != 0 {
			t.Errorf("one too many: %v after %v, want unavailable at once", err, time.Since(began))
		}
		cancel()
		waiting.Wait()
		if time.Since(began) != 0 || h.Waiting() != 0 {
			t.Errorf("%d still wait %v after the requests ended", h.Waiting(), time.Since(began))
		}
		if _, err := h.Hash(t.Context(), handlertest.Password); domain.ErrorCode(err) != domain.CodeUnavailable || time.Since(began) != 5*time.Second {
			t.Errorf("waited %v: %v, want unavailable after 5s", time.Since(began), err)
		}
		var served error
		waiting.Go(func() { _, served = h.Hash(t.Context(), handlertest.Password) })
		synctest.Wait()
		release()
		waiting.Wait()
		if served != nil {
			t.Errorf("after a slot came free: %v", served)
		}
	})
}
