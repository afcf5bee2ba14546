package registration_test

import (
	"strings"
	"testing"

	"outboxd/handler/registration"
)

func TestParseIdempotencyKey(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`abc`: "abc", `"abc"`: "abc", `"a b"`: "a b", `"a\"b\\c"`: `a"b\c`, `a\b`: `a\b`,
		strings.Repeat("k", 255):             strings.Repeat("k", 255),
		`"` + strings.Repeat("k", 255) + `"`: strings.Repeat("k", 255),
	} {
		if got, err := registration.ParseIdempotencyKey([]string{in}); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{
		"", " ", `"`, `""`, `"abc`, `abc"`, `"abc";p=1`, `"a\n"`, `"a\`, "a b", "a,b", "a\x00b", "a\x7fb", "é", `"é"`,
		strings.Repeat("k", 256), `"` + strings.Repeat("k", 256) + `"`,
	} {
		if got, err := registration.ParseIdempotencyKey([]string{in}); err == nil {
			t.Errorf("%q was taken as %q", in, got)
		}
	}
	if got, err := registration.ParseIdempotencyKey(nil); got != "" || err != nil {
		t.Errorf("no header: %q, %v", got, err)
	}
}

func FuzzParseIdempotencyKey(f *testing.F) {
	for _, seed := range []string{"abc", `"abc"`, `"a\"b"`, `"`, `"a`, "a\x00", strings.Repeat("k", 300)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		key, err := registration.ParseIdempotencyKey([]string{in})
		if err != nil {
			if key != "" {
				t.Errorf("%q: both %q and %v", in, key, err)
			}
			return
		}
		if key == "" || len(key) > 255 || strings.IndexFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
			t.Errorf("%q was taken as %q", in, key)
		}
		quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key) + `"`
		if again, err := registration.ParseIdempotencyKey([]string{quoted}); err != nil || again != key {
			t.Errorf("%q, written as %q, reads as %q, %v", key, quoted, again, err)
		}
	})
}
