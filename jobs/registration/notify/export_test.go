package notify

// What the external tests reach into.
var (
	RetryAfter = retryAfter
	Excerpt    = excerpt
)
