package postgres

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
)

func TestAnUnreadableURLIsNamedForWhatItIs(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"postgres://u:top-secret@h/d?sslmode=requre":                                  "sslmode is invalid",
		"postgres://u:top-secret@h/d?connect_timeout=soon":                            "connect_timeout",
		"postgres://u:top-secret@h/d?sslmode=verify-full&sslrootcert=/nowhere/ca.pem": "/nowhere/ca.pem",
		"postgres://u:top-secret@h/d?target_session_attrs=any-of-them":                "target_session_attrs",
		"postgres://u:top-secret@h:port/d":                                            "invalid port",
		"host=h password='top-secret":                                                 "must look like",
	} {
		_, err := pgxpool.ParseConfig(address)
		if err == nil {
			t.Errorf("%s can be read", address)
			continue
		}
		if text := unreadableURL(err).Error(); !strings.Contains(text, want) || strings.Contains(text, "top-secret") || strings.Contains(text, "\n") {
			t.Errorf("%s: %q, want one line with %q", address, text, want)
		}
	}
}

func TestEachAddressThatWasTriedIsSaidOnce(t *testing.T) {
	t.Parallel()
	cause := errors.New("refused")
	err := oneLine{fmt.Errorf("failed to connect to `x`:\n\ta: %w\n\ta: %w\n\tb: %w", cause, cause, cause)}
	if want := "failed to connect to `x`: a: refused; b: refused"; err.Error() != want || !errors.Is(err, cause) {
		t.Errorf("%q, want %q", err, want)
	}
	if err := (oneLine{cause}); err.Error() != "refused" {
		t.Errorf("%q", err)
	}
}
