package redis

import "testing"

func TestParseRedisVersion(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64": "7.0.15",
		"Valkey server v=8.0.1 sha=00000000:0":                               "8.0.1",
		"soup":                                                               "unknown",
	} {
		if got := parseRedisVersion(line); got != want {
			t.Errorf("%q gives %s", line, got)
		}
	}
}
