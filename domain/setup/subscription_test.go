package setup_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"outboxd/domain"
	"outboxd/domain/setup"
)

func TestSubscriptionsNameEachFault(t *testing.T) {
	t.Parallel()
	good := setup.Subscription{Name: "crm", Types: []string{"user:*"}, URL: "https://crm.example.com/hooks", Secrets: []string{"env:CRM"}}.WithDefaults()
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for field, spoil := range map[string]func(s *setup.Subscription){
		"name":           func(s *setup.Subscription) { s.Name = "CRM" },
		"types":          func(s *setup.Subscription) { s.Types = nil },
		"headers":        func(s *setup.Subscription) { s.Headers = map[string]string{"": "x"} },
		"url":            func(s *setup.Subscription) { s.URL = "https://user:password@crm.example.com" },
		"secret":         func(s *setup.Subscription) { s.Secrets = []string{"whsec_hidden"} },
		"format":         func(s *setup.Subscription) { s.Format = "xml" },
		"timeout":        func(s *setup.Subscription) { s.Timeout = time.Millisecond },
		"concurrency":    func(s *setup.Subscription) { s.Concurrency = -1 },
		"rate":           func(s *setup.Subscription) { s.Rate = -1 },
		"retry.attempts": func(s *setup.Subscription) { s.Attempts = -1 },
		"retry.max":      func(s *setup.Subscription) { s.RetryMax = time.Millisecond },
		"ordering":       func(s *setup.Subscription) { s.Ordering = "queue" },
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
		if got := setup.TypePattern(pattern); got != want {
			t.Errorf("%s: %s, want %s", pattern, got, want)
		}
	}
}
