package address_test

import (
	"strings"
	"testing"

	"outboxd/config/address"
)

func TestRedisCLIReachesEachFormOfAURL(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"redis://:pw@host:6379/3":                         "-u redis://:pw@host:6379/3",
		"rediss://host":                                   "-u rediss://host",
		"redis-socket:///run/redis.sock":                  "-s /run/redis.sock",
		"redis-socket://ann:pw@/run/redis.sock?db=2":      "-s /run/redis.sock -n 2 --user ann --no-auth-warning -a pw",
		"redis-cluster://ann:pw@a:7000,b:7000":            "-c -u redis://ann:pw@a:7000",
		"rediss-cluster://a:7000":                         "-c -u rediss://a:7000",
		"redis-sentinel://a:26379,b:26379?master=outboxd": "",
		"host:6379": "",
	} {
		if got := strings.Join(address.RedisCLI(text), " "); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
