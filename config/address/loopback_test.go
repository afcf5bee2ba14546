package address_test

import (
	"testing"

	"outboxd/config/address"
)

func TestIsLoopback(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"127.0.0.1:8081": true, "127.9.9.9": true, "localhost:8081": true, "LOCALHOST": true, "[::1]:8081": true, "::1": true, "[::1]": true,
		"outboxd.localhost:80": true, "[::ffff:127.0.0.1]:80": true,
		":8081": false, "0.0.0.0:8081": false, "[::]:8081": false, "10.0.0.1:8081": false, "": false,
		"localhost.example.com:8081": false, "127.0.0.1.example.com": false, "evil.example": false,
	} {
		if got := address.IsLoopback(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
