package domain_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"outboxd/domain"
)

func TestSubscriptionsNameEachFault(t *testing.T) {
	t.Parallel()
	good := domain.Subscription{Name: "crm", Types: []string{"user:*"}, URL: "https://crm.example.com/hooks", Secrets: []string{"env:CRM"}}.WithDefaults()
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for field, spoil := range map[string]func(s *domain.Subscription){
		"name":           func(s *domain.Subscription) { s.Name = "CRM" },
		"types":          func(s *domain.Subscription) { s.Types = nil },
		"headers":        func(s *domain.Subscription) { s.Headers = map[string]string{"": "x"} },
		"url":            func(s *domain.Subscription) { s.URL = "https://user:password@crm.example.com" },
		"secret":         func(s *domain.Subscription) { s.Secrets = []string{"whsec_hidden"} },
		"format":         func(s *domain.Subscription) { s.Format = "xml" },
		"timeout":        func(s *domain.Subscription) { s.Timeout = time.Millisecond },
		"concurrency":    func(s *domain.Subscription) { s.Concurrency = -1 },
		"rate":           func(s *domain.Subscription) { s.Rate = -1 },
		"retry.attempts": func(s *domain.Subscription) { s.Attempts = -1 },
		"retry.max":      func(s *domain.Subscription) { s.RetryMax = time.Millisecond },
		"ordering":       func(s *domain.Subscription) { s.Ordering = "queue" },
	} {
		bad := good
		spoil(&bad)
		err := bad.Validate()
		var named *domain.Error
		if !errors.As(err, &named) || named.Code != domain.CodeInvalid || len(named.Fields) != 1 || named.Fields[0].Field != field {
			t.Errorf("%s: %v", field, err)
		}
		if err != nil && (strings.Contains(err.Error(), "hidden") || strings.Contains(err.Error(), "password@")) {
			t.Errorf("%s: the message has a secret: %v", field, err)
		}
	}
}

func TestTypePatternsAreThoseOfSQL(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]string{"user:*": "user:%", "*": "%", "a_b%": `a\_b\%`, `back\slash`: `back\\slash`} {
		if got := domain.TypePattern(pattern); got != want {
			t.Errorf("%s: %s, want %s", pattern, got, want)
		}
	}
}
