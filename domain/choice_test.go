package domain_test

import (
	"testing"
	"time"

	"outboxd/domain"
)

// A filter whose conditions all let everything pass is not a choice.
func TestAFilterThatLetsEverythingPassChoosesNothing(t *testing.T) {
	t.Parallel()
	for _, f := range []domain.DeadFilter{
		{},
		{Type: "*", Queue: "*", IDs: []domain.ID{}, NotTypes: []string{""}, NotErrors: []string{"", ""}, NotForms: []string{""}, NotKeys: []string{""}},
		{HeaderValue: "x", Payload: domain.PayloadField{Any: true}, OlderThan: -time.Hour},
	} {
		if f.Narrows() {
			t.Errorf("%+v narrows", f)
		}
	}
	for _, f := range []domain.DeadFilter{
		{IDs: make([]domain.ID, 1)},
		{Type: "a*"},
		{HeaderName: "x"},
		{NotTypes: []string{"", "a"}},
		{Payload: domain.PayloadField{Path: []string{"a"}}},
		{NotKeys: []string{"k"}},
		{NotHeaders: []domain.Header{{Name: "x"}}},
		{NotFields: []domain.PayloadField{{Path: []string{"a"}}}},
		{NewerThan: time.Hour},
		{Stage: domain.StageRelay},
	} {
		if !f.Narrows() {
			t.Errorf("%+v narrows nothing", f)
		}
	}
	for text, want := range map[string][2]string{"": {}, "a": {"a", ""}, "a=": {"a", ""}, "a=b=c": {"a", "b=c"}} {
		if name, value, err := domain.ParseHeader(text); err != nil || name != want[0] || value != want[1] {
			t.Errorf("%q: %q, %q, %v", text, name, value, err)
		}
	}
	for _, text := range []string{"=", "=x"} {
		if _, _, err := domain.ParseHeader(text); domain.ErrorCode(err) != domain.CodeInvalid {
			t.Errorf("%q: %v", text, err)
		}
	}
}
