package signin

import (
	"errors"
	"io"
	"net/http"
)

// maxAnswer is the largest answer of an OpenID provider that outboxd reads, in bytes.
const maxAnswer = 1 << 20

// bounded makes the reading of an answer fail after maxAnswer bytes, because a library of OpenID
// Connect may read an answer of any length into memory.
type bounded struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(request *http.Request) (*http.Response, error) {
	answer, err := b.RoundTripper.RoundTrip(request)
	if err == nil {
		answer.Body = &boundedBody{answer.Body, maxAnswer}
	}
	return answer, err
}

type boundedBody struct {
	io.ReadCloser
	left int
}

// Read implements io.Reader.
func (b *boundedBody) Read(into []byte) (int, error) {
	n, err := b.ReadCloser.Read(into)
	if b.left -= n; b.left < 0 {
		return 0, errors.New("the answer is longer than 1 MiB")
	}
	return n, err
}
