package monitor

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	sessionCookie = "outboxd_session"
	sessionLife   = 12 * time.Hour
)

// sessions makes and checks the values of session cookies. A value consists of the
// Unix time at which the session ends, a random name, and the HMAC of both. The
// HMAC's key is random for each process. So a value reveals nothing about the admin
// token, and all sessions end with the process.
type sessions struct {
	key []byte

	mu    sync.Mutex
	ended map[string]time.Time // values that were signed out, and when they would have ended
}

func newSessions() *sessions {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails
	return &sessions{key: key, ended: make(map[string]time.Time)}
}

// issue returns the cookie value of a new session that ends at the given time.
func (s *sessions) issue(end time.Time) string {
	content := strconv.FormatInt(end.Unix(), 10) + "." + rand.Text()
	return content + "." + s.sign(content)
}

// valid reports whether issue made this cookie value and its session has not ended.
func (s *sessions) valid(value string, now time.Time) bool {
	end, ok := s.read(value)
	if !ok || !now.Before(end) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, over := s.ended[value]
	return !over
}

// end ends the session of a cookie value, for every copy of the cookie. end stores
// only values that issue made, so nobody without the token can fill the memory.
func (s *sessions) end(value string, now time.Time) {
	if !s.valid(value, now) {
		return
	}
	until, _ := s.read(value)
	s.mu.Lock()
	defer s.mu.Unlock()
	for old, end := range s.ended {
		if !now.Before(end) {
			delete(s.ended, old)
		}
	}
	s.ended[value] = until
}

// read returns the end of the session of a cookie value; ok is false if issue did
// not make the value.
func (s *sessions) read(value string) (end time.Time, ok bool) {
	at := strings.LastIndexByte(value, '.')
	if at < 0 || subtle.ConstantTimeCompare([]byte(value[at+1:]), []byte(s.sign(value[:at]))) == 0 {
		return time.Time{}, false
	}
	expiry, _, _ := strings.Cut(value, ".")
	seconds, err := strconv.ParseInt(expiry, 10, 64)
	return time.Unix(seconds, 0), err == nil
}

func (s *sessions) sign(content string) string {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(content))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// sameToken compares two tokens. The time it takes does not depend on their content
// or length, so it reveals nothing.
func sameToken(offered, token string) bool {
	a, b := sha256.Sum256([]byte(offered)), sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}
