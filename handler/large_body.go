package handler

import (
	"bytes"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/time/rate"
)

// The server keeps a whole body in memory before it knows anything about the sender. So only
// a few requests may have a body that is larger than Options.ReadLimit: largeAtOnce requests at
// once, and after them one more every largeAgain. The server refuses further ones as too large.
const (
	largeAtOnce = 16
	largeAgain  = time.Second
)

// largeBodies returns a function that gives the body limit of each request. Options.LargeBody
// decides the limit.
func (o Options) largeBodies() func(*fasthttp.RequestHeader) fasthttp.RequestConfig {
	bucket := rate.NewLimiter(rate.Every(largeAgain), largeAtOnce)
	return func(h *fasthttp.RequestHeader) (c fasthttp.RequestConfig) {
		if h.ContentLength() <= o.ReadLimit {
			return c
		}
		path, _, _ := bytes.Cut(h.RequestURI(), []byte("?"))
		if limit := o.LargeBody(string(h.Method()), string(path)); limit > o.ReadLimit && bucket.Allow() {
			c.MaxRequestBodySize = limit
		}
		return c
	}
}
