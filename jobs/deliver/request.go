package deliver

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.opentelemetry.io/otel/propagation"

	"outboxd/domain/setup"
	"outboxd/domain/traceparent"
)

// outboxd adds these headers to a request. The name of each header of the event gets the prefix
// HeaderPrefix, so that a producer sets none of HTTP's own headers, except Content-Type and the
// trace headers. Characters that HTTP does not allow are percent-encoded.
const (
	HeaderType    = "Outboxd-Event-Type"
	HeaderQueue   = "Outboxd-Event-Queue"
	HeaderAttempt = "Outboxd-Attempt"
	HeaderPrefix  = "Outboxd-Header-"
)

const (
	userAgent         = "outboxd"
	headerContentType = "content-type"
	headerTracestate  = "tracestate"
)

// request builds and signs the request of one attempt. The parameter at is the time in the
// signature. request also returns the signing secrets, so that the caller can remove them from
// errors.
func (s *Sender) request(ctx context.Context, target *Target, d *Delivery, at time.Time) (*http.Request, []string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target.URL, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("the subscription's URL is no URL: %w", withoutURL(err))
	}
	body, err := s.encode(ctx, r, target.Format, d)
	if err != nil {
		return nil, nil, err
	}
	id := d.EventID.String()
	signature, secrets, err := sign(target.Secrets, id, at, body)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errSecret, err)
	}
	h := r.Header
	h.Set("User-Agent", userAgent)
	h.Set(standardwebhooks.HeaderWebhookID, id)
	h.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(at.Unix(), 10))
	if signature != "" {
		h.Set(standardwebhooks.HeaderWebhookSignature, signature)
	}
	h.Set(HeaderType, escape(d.Type, isValueByte))
	h.Set(HeaderQueue, escape(d.Queue, isValueByte))
	h.Set(HeaderAttempt, strconv.Itoa(max(d.Attempt, 1)))
	for name, value := range d.Headers {
		h.Set(HeaderPrefix+escape(name, isTokenByte), escape(value, isValueByte))
	}
	trace(ctx, h, d.Headers)
	// If Idempotency-Key is in the header map, net/http repeats the request by itself when
	// the receiver had already closed the connection. A header without values is not sent.
	h["Idempotency-Key"] = []string{}
	return r, secrets, nil
}

// encode writes the event into the request, and returns the request's body.
func (s *Sender) encode(ctx context.Context, r *http.Request, format string, d *Delivery) ([]byte, error) {
	switch format {
	case setup.FormatRaw, "":
		r.Header.Set("Content-Type", contentType(d))
		setBody(r, d.Payload)
		return d.Payload, nil
	case setup.FormatCloudEvents, setup.FormatCloudEventsStructured:
		if err := s.writeCloudEvent(ctx, r, format == setup.FormatCloudEventsStructured, d); err != nil {
			return nil, fmt.Errorf("%w: %w", errEvent, err)
		}
		if r.Body == nil {
			return nil, nil
		}
		body, err := io.ReadAll(r.Body)
		setBody(r, body)
		return body, err
	default:
		return nil, fmt.Errorf("the format %.40q is not known", format)
	}
}

func setBody(r *http.Request, body []byte) {
	r.ContentLength = int64(len(body))
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	r.Body, _ = r.GetBody()
	if len(body) == 0 {
		r.Body, r.GetBody = http.NoBody, func() (io.ReadCloser, error) { return http.NoBody, nil }
	}
}

// contentType returns the content type that the event's header names, or that of the
// payload if there is no such header.
func contentType(d *Delivery) string {
	for name, value := range d.Headers {
		if strings.EqualFold(name, headerContentType) && value != "" {
			return escape(value, isValueByte)
		}
	}
	return payloadType(d.Payload)
}

func payloadType(payload []byte) string {
	if json.Valid(payload) {
		return "application/json"
	}
	return "application/octet-stream"
}

// trace sets the trace headers: the trace of the attempt or, if this process makes no
// spans, the trace of the event.
func trace(ctx context.Context, h http.Header, headers map[string]string) {
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(h))
	if h.Get(traceparent.Header) != "" {
		return
	}
	parent, valid := traceparent.Parse(headers[traceparent.Header])
	if !valid {
		return
	}
	h.Set(traceparent.Header, parent)
	if state := headers[headerTracestate]; state != "" {
		h.Set(headerTracestate, escape(state, isValueByte))
	}
}

// escape percent-encodes every byte of a text for which the function fit returns false.
func escape(text string, fit func(byte) bool) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if fit(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// isValueByte reports whether a byte may stand in the value of a header as it is, so that
// every receiver reads it in the same way.
func isValueByte(c byte) bool { return c >= ' ' && c <= '~' && c != '%' }

// isTokenByte reports whether a byte may stand in the name of a header (RFC 9110, section
// 5.6.2). It excludes the per cent sign.
func isTokenByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$&'*+-.^_`|~", c) >= 0
}
