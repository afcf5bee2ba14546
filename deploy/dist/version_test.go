package main

import (
	"testing"
	"time"
)

func TestPackageVersion(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{
		"v1.2.3":                  "1.2.3",
		"1.2.3":                   "1.2.3",
		"v1.2.3-rc.1":             "1.2.3~rc.1",
		"v1.2.3-4-gabcdef0":       "1.2.3+4.gabcdef0",
		"v1.2.3-rc.1-4-gabcdef0":  "1.2.3~rc.1+4.gabcdef0",
		"v1.2.3-4-gabcdef0-dirty": "1.2.3+4.gabcdef0+dirty",
		"abcdef0":                 "0.0.0+20260102030405.abcdef0",
		"abcdef0-dirty":           "0.0.0+20260102030405.abcdef0.dirty",
	} {
		r := release{version: version, time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
		if got := r.packageVersion(); got != want {
			t.Errorf("%s becomes %s, want %s", version, got, want)
		}
	}
}
