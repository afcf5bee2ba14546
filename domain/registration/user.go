package registration

import (
	"context"
	"net/mail"
	"strings"
	"time"
	"unicode/utf8"

	"outboxd/domain"
)

// The bounds of a password, in bytes. The upper bound keeps requests small.
const (
	MinPassword = 8
	MaxPassword = 1024
)

// MaxEmail is the longest address that SMTP can carry, in bytes (RFC 5321,
// section 4.5.3.1.3, less the angle brackets).
const MaxEmail = 254

// User is a registered user.
type User struct {
	ID           domain.ID
	Email        string // as it was written; unique regardless of the case of the letters A to Z, and of other letters whose case the database knows
	PasswordHash string // PHC string
	CreatedAt    time.Time
}

// Request is a request to register a user.
type Request struct {
	Email    string
	Password string
}

// Validate checks the rules that need no database. Its errors have
// domain.CodeInvalid and name the fields.
func (r Request) Validate() error {
	var bad []domain.FieldError
	if message := emailFault(r.Email); message != "" {
		bad = append(bad, domain.FieldError{Field: "email", Message: message})
	}
	switch {
	case len(r.Password) < MinPassword:
		bad = append(bad, domain.FieldError{Field: "password", Message: "must have at least 8 bytes"})
	case len(r.Password) > MaxPassword:
		bad = append(bad, domain.FieldError{Field: "password", Message: "must have at most 1024 bytes"})
	case !utf8.ValidString(r.Password):
		bad = append(bad, domain.FieldError{Field: "password", Message: "must be valid UTF-8"})
	}
	if bad == nil {
		return nil
	}
	return &domain.Error{Code: domain.CodeInvalid, Message: "the registration has bad fields", Fields: bad}
}

// emailFault returns what is wrong with an address, or "" if it is valid. emailFault accepts plain addresses whose
// domain contains a dot, because mail servers deliver to these. It refuses all other forms of RFC 5322.
func emailFault(address string) string {
	if address == "" {
		return "is required"
	}
	if len(address) > MaxEmail {
		return "must have at most 254 bytes"
	}
	parsed, err := mail.ParseAddress(address)
	if err != nil || parsed.Address != address || parsed.Name != "" {
		return "must be an e-mail address such as ada@example.com"
	}
	at := strings.LastIndexByte(address, '@')
	local, host := address[:at], address[at+1:]
	if len(local) > 64 {
		return "must have at most 64 bytes before the @"
	}
	if strings.ContainsAny(local, "\" \t\r\n") {
		return "must not be quoted"
	}
	if !strings.Contains(host, ".") || strings.HasPrefix(host, "[") {
		return "must have a domain name after the @, such as example.com"
	}
	return ""
}

// UserStore keeps users and their notifications. Its methods are safe for
// concurrent use.
type UserStore interface {
	// Register writes the user, the welcome notification and its event in one transaction. Register also stores
	// idempotencyKey ("" for none) with the user, and fills in user.ID and user.CreatedAt.
	//
	// Errors: domain.CodeConflict if the e-mail address is taken; ErrKeyUsed if another request has used the key, even a
	// simultaneous one; domain.CodeUnavailable if the database cannot be reached.
	Register(ctx context.Context, user *User, idempotencyKey string, headers map[string]string) error

	// FindUserByKey returns the user that was registered with this idempotency key.
	//
	// Errors: domain.CodeNotFound, domain.CodeUnavailable.
	FindUserByKey(ctx context.Context, idempotencyKey string) (*User, error)

	// FindUser returns a user and the user's notifications, oldest first.
	//
	// Errors: domain.CodeNotFound, domain.CodeUnavailable.
	FindUser(ctx context.Context, id domain.ID) (*User, []Notification, error)

	// TrimKeys deletes up to limit idempotency keys that are older than age, and returns
	// how many it deleted. Any number of processes may call TrimKeys at once.
	//
	// Errors: domain.CodeUnavailable.
	TrimKeys(ctx context.Context, age time.Duration, limit int) (int64, error)
}

// ErrKeyUsed says that an idempotency key belongs to an earlier request.
var ErrKeyUsed = domain.Errorf(domain.CodeConflict, "the Idempotency-Key was used before")
