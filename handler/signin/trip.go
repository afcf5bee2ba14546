package signin

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"golang.org/x/oauth2"

	"outboxd/domain"
	"outboxd/domain/access"
	"outboxd/domain/words"
	"outboxd/handler"
)

const (
	tripCookie = "outboxd_openid"
	tripLife   = 10 * time.Minute
	maxRefusal = 300 // characters of a provider's refusal that a page shows
)

// trip has what outboxd must know again when a person comes back from the OpenID provider.
// A trip is stored in a cookie, so that outboxd keeps nothing about people who do not come
// back, and so that the provider's answer counts only in the browser that left for the
// provider.
type trip struct {
	State, Nonce, Verifier string
	Next, Redirect         string
	End                    int64 // Unix seconds
}

// envelopes encrypt and authenticate the content of cookies with a random key.
type envelopes struct{ cipher.AEAD }

func newEnvelopes() envelopes {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the key has the right length
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return envelopes{aead}
}

func (e envelopes) close(t *trip) string {
	// Marshal never fails for texts and numbers.
	text, _ := json.Marshal(t)
	return base64.RawURLEncoding.EncodeToString(e.Seal(nil, nil, text, nil)) //nolint:gosec // this AEAD makes a random nonce itself
}

func (e envelopes) open(value string, now time.Time) (*trip, bool) {
	closed, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil {
		return nil, false
	}
	text, err := e.Open(nil, nil, closed, nil)
	t := &trip{}
	if err != nil || json.Unmarshal(text, t) != nil {
		return nil, false
	}
	return t, now.Before(time.Unix(t.End, 0))
}

// leave begins a sign-in by OpenID Connect. It redirects the person to the OpenID
// provider.
func (s *signing) leave(c *fiber.Ctx) error {
	if s.provider.o.Issuer == "" {
		return handler.Problemf(http.StatusNotFound, "outboxd runs without an OpenID provider")
	}
	end := s.guard.now().Add(tripLife)
	t := &trip{
		State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(),
		Next: localPath(c.Query("next")), Redirect: s.redirectURL(c), End: end.Unix(),
	}
	address, err := s.provider.address(c.UserContext(), t)
	if err != nil {
		return err
	}
	setCookie(c, tripCookie, s.envelopes.close(t), end)
	return c.Redirect(address, http.StatusSeeOther)
}

// redirectURL returns the address to which the provider sends people back. A false
// Host header does no harm: the provider sends people only to addresses that it
// knows.
func (s *signing) redirectURL(c *fiber.Ctx) string {
	if s.provider.o.RedirectURL != "" {
		return s.provider.o.RedirectURL
	}
	return c.BaseURL() + "/" + callbackPath
}

// comeBack serves the address to which the OpenID provider sends people back. comeBack
// begins the person's session.
func (s *signing) comeBack(c *fiber.Ctx) error {
	t, ok := s.envelopes.open(c.Cookies(tripCookie), s.guard.now())
	setCookie(c, tripCookie, "", time.Unix(1, 0)) // the provider's answer counts once
	if !ok || subtle.ConstantTimeCompare([]byte(t.State), []byte(c.Query("state"))) == 0 {
		return domain.Errorf(domain.CodeUnauthorized, "this sign-in took too long, or began in another browser or tab: sign in again")
	}
	if fault := c.Query("error"); fault != "" {
		return domain.Errorf(domain.CodeForbidden, "the OpenID provider refused: %s", words.Cut(strings.TrimSpace(fault+" "+c.Query("error_description")), maxRefusal))
	}
	who, err := s.identify(c, t)
	if err != nil {
		return err
	}
	return s.welcome(c, who, t.Next)
}

// identify asks the OpenID provider who a person is. Anyone can get the cookie of a trip,
// and each such cookie makes outboxd send requests to the provider. So a client with too
// many failed sign-ins has to wait.
func (s *signing) identify(c *fiber.Ctx, t *trip) (access.Identity, error) {
	client := handler.LimitKey(handler.ClientOf(c))
	if wait := s.returns.wait(client, s.guard.now()); wait > 0 {
		return access.Identity{}, handler.Problemf(http.StatusTooManyRequests, "too many sign-ins from this address failed").
			With(fiber.HeaderRetryAfter, handler.RetryAfter(wait))
	}
	who, err := s.provider.identify(c.UserContext(), t, c.Query("code"))
	if err != nil {
		s.returns.failed(client, s.guard.now())
	}
	return who, err
}
