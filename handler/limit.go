package handler

import (
	"net/http"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/limiter"
)

// The headers that fiber's limiter sets on answers within the limit.
const (
	headerLimit     = "X-RateLimit-Limit"
	headerRemaining = "X-RateLimit-Remaining"
	headerReset     = "X-RateLimit-Reset"
)

// limitRate allows each client perMinute requests in any minute (a sliding
// window, counted in whole seconds). The counts live in this process.
func limitRate(perMinute int) fiber.Handler {
	return limiter.New(limiter.Config{
		Max:               perMinute,
		Expiration:        time.Minute,
		LimiterMiddleware: limiter.SlidingWindow{},
		KeyGenerator:      func(c *fiber.Ctx) string { return limitKey(exchangeOf(c).address) },
		LimitReached: func(c *fiber.Ctx) error {
			c.Set(headerLimit, strconv.Itoa(perMinute))
			c.Set(headerRemaining, "0")
			c.Set(headerReset, string(c.Response().Header.Peek(fiber.HeaderRetryAfter)))
			return problemf(http.StatusTooManyRequests, "at most %d requests a minute are allowed from one address", perMinute)
		},
	})
}
