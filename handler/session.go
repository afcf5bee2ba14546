package handler

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

const (
	sessionCookie = "outboxd_session"
	sessionLife   = 12 * time.Hour
)

// sessions makes and checks the values of session cookies: the second at which
// the session ends, and its HMAC. The key is random, so that a value reveals
// nothing about the admin token, and sessions end with the process.
type sessions struct{ key []byte }

func newSessions() *sessions {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails
	return &sessions{key: key}
}

// issue returns the value of a session that ends at the given time.
func (s *sessions) issue(end time.Time) string {
	expiry := strconv.FormatInt(end.Unix(), 10)
	return expiry + "." + s.sign(expiry)
}

// valid reports whether issue made the value and the session has not ended.
func (s *sessions) valid(value string, now time.Time) bool {
	expiry, signature, ok := strings.Cut(value, ".")
	if !ok || subtle.ConstantTimeCompare([]byte(signature), []byte(s.sign(expiry))) == 0 {
		return false
	}
	end, err := strconv.ParseInt(expiry, 10, 64)
	return err == nil && now.Unix() < end
}

func (s *sessions) sign(expiry string) string {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(expiry))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// sameToken compares in a time that depends on neither content nor length.
func sameToken(offered, token string) bool {
	a, b := sha256.Sum256([]byte(offered)), sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}
