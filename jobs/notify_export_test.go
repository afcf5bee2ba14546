package jobs

// What the external tests reach into.
var (
	RetryAfter = retryAfter
	Excerpt    = excerpt
)
