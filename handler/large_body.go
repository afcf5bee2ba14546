package handler

import (
	"bytes"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/time/rate"
)

// The server keeps a whole body in memory before it knows anything about the sender. So only
// a few requests may have a body that is larger than Options.ReadLimit: at most largeAtOnce
// begin at once, and one more each largeAgain. Others are refused as if they were too large.
const (
	largeAtOnce = 16
	largeAgain  = time.Second
)

// largeBodies returns the limit of the body for each request, as Options.LargeBody says.
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
