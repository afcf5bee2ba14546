package handler

import (
	"net/http"
	"testing"

	"github.com/valyala/fasthttp"
)

// Only some requests may have a large body, and only few at a time.
func TestFewRequestsMayHaveALargeBody(t *testing.T) {
	t.Parallel()
	o := Options{ReadLimit: 1000, LargeBody: func(method, path string) int {
		if method == http.MethodPost && path == "/large" {
			return 3000
		}
		return 0
	}}
	limit := o.largeBodies()
	ask := func(method, address string, length int) int {
		var h fasthttp.RequestHeader
		h.SetMethod(method)
		h.SetRequestURI(address)
		h.SetContentLength(length)
		return limit(&h).MaxRequestBodySize
	}
	for range 100 { // these do not count
		if got := ask(http.MethodPost, "/large", 1000) + ask(http.MethodPost, "/large", -1) + ask(http.MethodPost, "/small?/large", 2000) + ask(http.MethodPut, "/large", 2000); got != 0 {
			t.Fatalf("the limit is %d", got)
		}
	}
	if got := ask(http.MethodPost, "/large?x=1", 2000); got != 3000 {
		t.Errorf("the limit of a large body is %d", got)
	}
	allowed := 0
	for range 10_000 {
		if ask(http.MethodPost, "/large", 2000) > 0 {
			allowed++
		}
	}
	if allowed < largeAtOnce-1 || allowed > 1000 {
		t.Errorf("%d of 10,000 requests may have a large body at once, want about %d", allowed, largeAtOnce)
	}
}
