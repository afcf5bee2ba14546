package handler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
)

// ProblemType is the media type of a Problem.
const ProblemType = "application/problem+json"

// Problem is an error response (RFC 9457). Any client may see its body, so the body
// contains nothing that only an operator may know.
type Problem struct {
	Type      string         `json:"type" doc:"Always about:blank: the status says what kind of problem it is" example:"about:blank"`
	Title     string         `json:"title" doc:"The status in words" example:"Unprocessable Entity"`
	Status    int            `json:"status" doc:"The HTTP status" example:"422"`
	Detail    string         `json:"detail" doc:"What went wrong this time" example:"the registration has bad fields"`
	Errors    []ProblemField `json:"errors,omitempty" nullable:"false" doc:"One entry for each bad field"`
	RequestID string         `json:"request_id,omitempty" doc:"Finds the request in the log" example:"0198c5f1-6b7e-4c55-8a3f-0d6d4c0a2f11"`

	headers http.Header
	cause   error
}

// ProblemField describes one wrong field of a request.
type ProblemField struct {
	Field    string `json:"field" doc:"The field's or header's name" example:"email"`
	Location string `json:"location" enum:"body,path,query,header" doc:"Where the field was read"`
	Message  string `json:"message" doc:"What to change" example:"must be an e-mail address such as ada@example.com"`
}

// Problemf returns a problem for which there is no domain error, such as a wrong
// HTTP method.
func Problemf(status int, format string, args ...any) *Problem {
	return &Problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status,
		Detail: fmt.Sprintf(format, args...), headers: http.Header{},
	}
}

// With adds a response header.
func (p *Problem) With(header, value string) *Problem {
	p.headers.Set(header, value)
	return p
}

// Error implements error.
func (p *Problem) Error() string { return p.Detail }

// Unwrap returns the cause. Only the log may show it.
func (p *Problem) Unwrap() error { return p.cause }

// GetStatus returns the HTTP status. huma calls this method and the next two.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders returns the response headers of the problem.
func (p *Problem) GetHeaders() http.Header { return p.headers }

// ContentType returns the media type of a problem.
func (p *Problem) ContentType(string) string { return ProblemType }

// status returns the HTTP status for a domain code. No other code maps domain codes to
// statuses.
func status(code domain.Code) int {
	switch code {
	case domain.CodeInvalid:
		return http.StatusUnprocessableEntity
	case domain.CodeUnauthorized:
		return http.StatusUnauthorized
	case domain.CodeForbidden:
		return http.StatusForbidden
	case domain.CodeNotFound:
		return http.StatusNotFound
	case domain.CodeConflict:
		return http.StatusConflict
	case domain.CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	case domain.CodeUnavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// The fixed texts for errors whose own text a client must not see.
const (
	internalDetail    = "the server met an unexpected condition; it has been logged"
	unavailableDetail = "the service cannot do this at the moment; try again later"
)

// defaultRetryAfter is the Retry-After of an outage whose error does not say how
// long to wait.
const defaultRetryAfter = 5 * time.Second

// ProblemOf returns what a client may know about err. err must not be nil.
func ProblemOf(err error) *Problem {
	var ready *Problem
	var known *domain.Error
	var routing *fiber.Error
	switch {
	case errors.As(err, &ready):
		return ready
	case errors.As(err, &known):
		return problemOfDomain(err, known)
	case errors.Is(err, context.DeadlineExceeded):
		return unavailable(err, unavailableDetail, 0)
	case errors.As(err, &routing):
		return Problemf(routing.Code, "%s", routingDetail(routing.Code))
	default:
		return internal(err)
	}
}

func internal(cause error) *Problem {
	p := Problemf(http.StatusInternalServerError, internalDetail)
	p.cause = cause
	return p
}

func unavailable(cause error, detail string, after time.Duration) *Problem {
	p := Problemf(http.StatusServiceUnavailable, "%s", detail).With(fiber.HeaderRetryAfter, RetryAfter(after))
	p.cause = cause
	return p
}

func problemOfDomain(err error, known *domain.Error) *Problem {
	code := status(known.Code)
	switch code {
	case http.StatusInternalServerError:
		return internal(err)
	case http.StatusServiceUnavailable:
		return unavailable(err, known.Message, known.RetryAfter)
	}
	p := Problemf(code, "%s", known.Message)
	p.cause = known.Err
	for _, f := range known.Fields {
		p.Errors = append(p.Errors, ProblemField{Field: f.Field, Location: "body", Message: f.Message})
	}
	return p
}

// routingDetail returns a fixed text for an error of fiber or fasthttp, because the texts
// of these errors quote the client's input.
func routingDetail(code int) string {
	switch code {
	case http.StatusNotFound:
		return "there is nothing at this address"
	case http.StatusMethodNotAllowed:
		return "this address does not take this method; the Allow header lists those it takes"
	case http.StatusRequestEntityTooLarge:
		return "the request body is too large"
	case http.StatusRequestHeaderFieldsTooLarge:
		return "the request's headers are too large"
	case http.StatusRequestTimeout:
		return "the request did not arrive in time"
	case http.StatusBadRequest:
		return "this is not an HTTP request that the server understands"
	default:
		return http.StatusText(code)
	}
}

// RetryAfter returns the value of a Retry-After header: whole seconds, rounded up. For a
// duration of 0 or less, RetryAfter returns defaultRetryAfter.
func RetryAfter(d time.Duration) string {
	if d <= 0 {
		d = defaultRetryAfter
	}
	return strconv.Itoa(int(math.Ceil(d.Seconds())))
}

// write sends p as the response of c. write keeps the other headers that the
// response has already.
func (p *Problem) write(c *fiber.Ctx) error {
	for name, values := range p.headers {
		for _, value := range values {
			c.Set(name, value)
		}
	}
	body, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("write a problem: %w", err)
	}
	c.Status(p.Status)
	c.Set(fiber.HeaderContentType, ProblemType)
	return c.Send(body)
}
