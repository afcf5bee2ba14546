package value

import (
	"log/slog"

	"outboxd/config/address"
)

// Secret is text that must not be shown. A Secret that is printed, logged or marshalled
// is masked; string(s) is the secret itself.
type Secret string

// String returns address.Masked, or "" if the secret is empty.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return address.Masked
}

// GoString masks the secret for %#v.
func (s Secret) GoString() string { return `"` + s.String() + `"` }

// LogValue masks the secret for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText masks the secret for JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the secret as it is.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = Secret(text)
	return nil
}

// SecretURL is a URL that may have a password, or a key=value connection string of PostgreSQL. If a
// SecretURL is printed, logged or marshalled, its secrets are masked; string(u) is the whole URL.
type SecretURL string

// String returns the URL with its secrets masked. String hides too much rather than too
// little of a text that it cannot parse.
func (u SecretURL) String() string {
	return address.Mask(string(u))
}

// GoString masks the secrets for %#v.
func (u SecretURL) GoString() string { return `"` + u.String() + `"` }

// LogValue masks the secrets for slog.
func (u SecretURL) LogValue() slog.Value { return slog.StringValue(u.String()) }

// MarshalText masks the secrets for JSON and YAML.
func (u SecretURL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText takes the text as it is.
func (u *SecretURL) UnmarshalText(text []byte) error {
	*u = SecretURL(text)
	return nil
}
