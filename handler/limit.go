package handler

import (
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
	"golang.org/x/time/rate"
)

// maxClients is the largest number of clients for which the rate limit keeps a
// count.
const maxClients = 10_000

// The headers that tell a client its limit: how many requests it may send per
// minute, how many it may send now, and in how many seconds it may send the full
// number again.
const (
	headerLimit     = "X-RateLimit-Limit"
	headerRemaining = "X-RateLimit-Remaining"
	headerReset     = "X-RateLimit-Reset"
)

// rateLimit limits the requests of each client, by a token bucket for each. rateLimit
// replaces Fiber's limiter, which starts a goroutine that nothing can stop, and whose
// memory grows with every client.
type rateLimit struct {
	perMinute int
	mu        sync.Mutex
	buckets   map[string]*rate.Limiter
}

// LimitRate allows each client perMinute requests a minute on average, and as many in one
// burst. LimitKey tells the clients apart. Each process counts for itself.
func LimitRate(perMinute int) fiber.Handler {
	l := &rateLimit{perMinute: perMinute, buckets: make(map[string]*rate.Limiter)}
	return func(c *fiber.Ctx) error {
		allowed, left, next := l.take(LimitKey(exchangeOf(c).address), time.Now())
		c.Set(headerLimit, strconv.Itoa(perMinute))
		c.Set(headerRemaining, strconv.Itoa(int(math.Max(left, 0))))
		c.Set(headerReset, strconv.Itoa(int(math.Ceil((float64(perMinute)-left)*60/float64(perMinute)))))
		if !allowed {
			return Problemf(http.StatusTooManyRequests, "at most %d requests a minute are allowed from one address", perMinute).
				With(fiber.HeaderRetryAfter, RetryAfter(next))
		}
		return c.Next()
	}
}

// take counts a request of a client. It returns whether the client may send it, and how
// many further requests the client may send now. If the request is not allowed, take also
// returns the time until the client may send one.
func (l *rateLimit) take(client string, now time.Time) (allowed bool, left float64, next time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	bucket := l.buckets[client]
	if bucket == nil {
		if len(l.buckets) >= maxClients {
			l.forget(now)
		}
		bucket = rate.NewLimiter(rate.Limit(l.perMinute)/60, l.perMinute)
		l.buckets[client] = bucket
	}
	allowed = bucket.AllowN(now, 1)
	left = bucket.TokensAt(now)
	return allowed, left, time.Duration((1 - left) * 60 / float64(l.perMinute) * float64(time.Second))
}

// forget drops the clients whose bucket is full again. If no client has a full bucket, it
// drops all clients, because bounding memory matters more than an exact count.
func (l *rateLimit) forget(now time.Time) {
	for client, bucket := range l.buckets {
		if bucket.TokensAt(now) >= float64(l.perMinute) {
			delete(l.buckets, client)
		}
	}
	if len(l.buckets) >= maxClients {
		clear(l.buckets)
	}
}
