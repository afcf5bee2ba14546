package registration

import "github.com/gofiber/fiber/v2"

// ParseIdempotencyKey is for tests and fuzzing from outside.
var ParseIdempotencyKey = parseIdempotencyKey

// Occupy takes all slots of a Hasher until release is called.
func (h *Hasher) Occupy() (release func()) {
	for range cap(h.slots) {
		h.slots <- struct{}{}
	}
	return func() {
		for range cap(h.slots) {
			<-h.slots
		}
	}
}

// Waiting is how many requests wait or work.
func (h *Hasher) Waiting() int { return len(h.present) }

// Room is how many requests may wait or work.
func (h *Hasher) Room() int { return cap(h.present) }

// DocumentedRoutes are all routes that answer, without middleware.
func DocumentedRoutes(app *fiber.App) []fiber.Route { return app.GetRoutes(true) }
