package answer_test

import (
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"outboxd/jobs/answer"
)

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                                0,
		"0":                               0,
		"7":                               7 * time.Second,
		" 120 ":                           2 * time.Minute,
		"0000000000000000000000000000030": 30 * time.Second,
		"86399":                           86399 * time.Second,
		"86400":                           24 * time.Hour,
		"86401":                           24 * time.Hour,
		"9223372036854775807":             24 * time.Hour,
		"99999999999999999999999999":      24 * time.Hour,
		"-1":                              0,
		"1.5":                             0,
		"soon":                            0,
		"Sun, 01 Mar 2026 12:00:30 GMT":   30 * time.Second,
		"Sunday, 01-Mar-26 12:01:00 GMT":  time.Minute,
		"Sun Mar  1 12:02:00 2026":        2 * time.Minute,
		"Sun, 01 Mar 2026 11:59:59 GMT":   0,
		"Sun, 01 Mar 2099 12:00:00 GMT":   24 * time.Hour,
		"Sun, 01 Mar 9999 12:00:00 GMT":   24 * time.Hour,
	} {
		if got := answer.RetryAfter(value, now); got != want {
			t.Errorf("Retry-After %q: got %s, want %s", value, got, want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, value := range []string{"", "0", "30", "86401", "-5", "99999999999999999999", "Sun, 01 Mar 2026 12:00:30 GMT"} {
		f.Add(value, int64(1772366400))
	}
	f.Fuzz(func(t *testing.T, value string, unix int64) {
		got := answer.RetryAfter(value, time.Unix(unix, 0))
		if got < 0 || got > 24*time.Hour {
			t.Fatalf("%q gives %s", value, got)
		}
		seconds, err := strconv.ParseUint(value, 10, 32)
		if err == nil && got != min(time.Duration(seconds)*time.Second, 24*time.Hour) {
			t.Fatalf("%q gives %s", value, got)
		}
	})
}

func FuzzExcerpt(f *testing.F) {
	f.Add("550 5.1.1 no such user")
	f.Add("a\r\nb\x00\x1b[31m hUnter2 \xff" + strings.Repeat("é", 300))
	f.Fuzz(func(t *testing.T, text string) {
		got := answer.Excerpt(text, "hunter2", "")
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > 201 || strings.ContainsAny(got, "\r\n\x00\x1b") {
			t.Fatalf("%q", got)
		}
		if strings.Contains(strings.ToLower(got), "hunter2") {
			t.Fatalf("%q shows the secret", got)
		}
	})
}
