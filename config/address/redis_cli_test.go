package address_test

import (
	"slices"
	"strings"
	"testing"

	"outboxd/config/address"
)

func TestRedisCLIReachesEachFormOfAURL(t *testing.T) {
	t.Parallel()
	type cli struct {
		args, user, password string
		tls                  bool
	}
	for text, want := range map[string]cli{
		"redis://:p%20w@host:6379/3":                 {"-h host -p 6379 -n 3", "", "p w", false},
		"redis://:6380":                              {"-p 6380", "", "", false},
		"redis://[::1]:6379":                         {"-h ::1 -p 6379", "", "", false},
		"rediss://host":                              {"-h host", "", "", true},
		"redis-socket:///run/redis.sock":             {"-s /run/redis.sock", "", "", false},
		"redis-socket://ann:pw@/run/redis.sock?db=2": {"-s /run/redis.sock -n 2", "ann", "pw", false},
		"redis-cluster://ann:pw@a:7000,b:7000":       {"-c -h a -p 7000", "ann", "pw", false},
		"rediss-cluster://a:7000/0":                  {"-c -h a -p 7000", "", "", true},
	} {
		got, ok := address.RedisCLIOf(text)
		if (cli{strings.Join(got.Args, " "), got.User, got.Password, got.TLS}) != want || !ok || slices.Contains(got.Args, "") {
			t.Errorf("%s: %+v, %v, want %+v", text, got, ok, want)
		}
	}
	for _, text := range []string{"redis-sentinel://a:26379,b:26379?master=outboxd", "host:6379"} {
		if got, ok := address.RedisCLIOf(text); ok {
			t.Errorf("%s: %+v", text, got)
		}
	}
}
