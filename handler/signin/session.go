package signin

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"outboxd/domain/access"
)

const (
	sessionCookie = "outboxd_session"
	sessionLife   = 12 * time.Hour
)

// sessions makes and checks the values of session cookies. A value has the content (who
// signed in, and until when) and the HMAC of the content. The key of the HMAC is random.
// So a value reveals nothing about a token, and sessions end with the process. No session
// outlives a change of the roles in the configuration.
type sessions struct {
	key []byte

	mu    sync.Mutex
	ended map[string]time.Time // the values whose person has signed out, and when their sessions would have ended
}

// session is the content of a cookie.
type session struct {
	Name string
	Role access.Role
	End  int64  // Unix seconds
	Mark string // random; makes the values of one person's sessions differ
}

func newSessions() *sessions {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails
	return &sessions{key: key, ended: make(map[string]time.Time)}
}

// issue returns the cookie value of a new session that ends at the given time.
func (s *sessions) issue(who access.Identity, end time.Time) string {
	text, _ := json.Marshal(session{who.Name, who.Role, end.Unix(), rand.Text()}) // never fails for texts and numbers
	content := base64.RawURLEncoding.EncodeToString(text)
	return content + "." + s.sign(content)
}

// holder returns the person who has signed in with a cookie value, if issue made
// the value and its session has not ended.
func (s *sessions) holder(value string, now time.Time) (access.Identity, bool) {
	found, ok := s.read(value)
	if !ok || !now.Before(time.Unix(found.End, 0)) {
		return access.Identity{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, over := s.ended[value]; over {
		return access.Identity{}, false
	}
	return access.Identity{Name: found.Name, Role: found.Role}, true
}

// end ends the session of a cookie value, so that a copy of the cookie is of no use
// either. end remembers only values that issue made, so nobody can fill the memory without
// signing in.
func (s *sessions) end(value string, now time.Time) {
	if _, ok := s.holder(value, now); !ok {
		return
	}
	found, _ := s.read(value)
	s.mu.Lock()
	defer s.mu.Unlock()
	for old, end := range s.ended {
		if !now.Before(end) {
			delete(s.ended, old)
		}
	}
	s.ended[value] = time.Unix(found.End, 0)
}

// read returns the session that a cookie value describes, and reports whether
// issue made the value.
func (s *sessions) read(value string) (found session, ok bool) {
	content, mac, _ := strings.Cut(value, ".")
	if subtle.ConstantTimeCompare([]byte(mac), []byte(s.sign(content))) == 0 {
		return session{}, false
	}
	text, err := base64.RawURLEncoding.DecodeString(content)
	return found, err == nil && json.Unmarshal(text, &found) == nil
}

func (s *sessions) sign(content string) string {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(content))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
