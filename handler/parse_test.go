package handler_test

import (
	"strings"
	"testing"

	"outboxd/handler"
)

func FuzzAcceptRequestID(f *testing.F) {
	f.Add("abc-1.2_3")
	f.Add("a\r\nSet-Cookie: b")
	f.Add(strings.Repeat("x", 129))
	f.Fuzz(func(t *testing.T, requestID string) {
		id := handler.AcceptRequestID(requestID)
		if id == "" || len(id) > 128 || strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" {
			t.Errorf("%q became the request ID %q", requestID, id)
		}
	})
}
