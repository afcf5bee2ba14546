package deliver

import (
	"context"
	"encoding/json"
	"mime"
	"net/http"
	"strings"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	protocol "github.com/cloudevents/sdk-go/v2/protocol/http"

	"outboxd/domain/traceparent"
)

// writeCloudEvent writes the event into a request, in the format CloudEvents 1.0.
func (s *Sender) writeCloudEvent(ctx context.Context, r *http.Request, structured bool, d *Delivery) error {
	e, err := s.cloudEvent(structured, d)
	if err != nil {
		return err
	}
	ctx = binding.WithForceBinary(ctx)
	if structured {
		ctx = binding.WithForceStructured(ctx)
	}
	if err := protocol.WriteRequest(ctx, (*binding.EventMessage)(e), r); err != nil {
		return err
	}
	// The SDK does not encode the attributes. CloudEvents requires that attributes are
	// percent-encoded (HTTP protocol binding, section 3.1.3.2), and net/http refuses to send
	// control characters.
	for name, values := range r.Header {
		if strings.HasPrefix(name, "Ce-") {
			for i := range values {
				values[i] = escape(values[i], isAttributeByte)
			}
		}
	}
	return nil
}

// isAttributeByte reports whether a byte of an attribute may stand in an HTTP header as
// it is.
func isAttributeByte(c byte) bool { return c > ' ' && c <= '~' && c != '%' && c != '"' }

func (s *Sender) cloudEvent(structured bool, d *Delivery) (*event.Event, error) {
	e := event.New(event.CloudEventsVersionV1)
	e.SetID(d.EventID.String())
	e.SetSource(s.source)
	e.SetType(d.Type)
	if !d.CreatedAt.IsZero() {
		e.SetTime(d.CreatedAt)
	}
	if d.OrderingKey != "" {
		e.SetSubject(d.OrderingKey)
	}
	for name, value := range d.Headers {
		if isExtension(name) && value != "" {
			e.SetExtension(name, value)
		}
	}
	if parent, valid := traceparent.Parse(d.Headers[traceparent.Header]); valid {
		e.SetExtension(traceparent.Header, parent)
	}
	if len(d.Payload) > 0 {
		kind := mediaType(d)
		if err := e.SetData(kind, data(structured, kind, d.Payload)); err != nil {
			return nil, err
		}
	}
	return &e, e.Validate()
}

// mediaType returns the value of the CloudEvents attribute datacontenttype, which must be a media
// type. A producer may have written anything into the event's header, so mediaType returns
// contentType only if that is a media type, and otherwise payloadType. The media type is in lower
// case, because the CloudEvents SDK knows no other form.
func mediaType(d *Delivery) string {
	media, params, err := mime.ParseMediaType(contentType(d))
	if kind := mime.FormatMediaType(media, params); err == nil && kind != "" && strings.Contains(media, "/") {
		return kind
	}
	return payloadType(d.Payload)
}

// data returns the payload in the type that the CloudEvents SDK needs. In a structured
// request, the SDK writes a []byte as base64, which is not necessary for JSON.
func data(structured bool, kind string, payload []byte) any {
	media, _, _ := mime.ParseMediaType(kind)
	switch {
	case structured && (media == "application/json" || strings.HasSuffix(media, "+json")) && json.Valid(payload):
		return json.RawMessage(payload)
	default:
		return payload
	}
}

// isExtension reports whether a header of an event can be an extension attribute of the
// CloudEvent: its name follows the rules of CloudEvents and is not the name of another
// attribute. All headers of the event are also sent as headers of the request.
func isExtension(name string) bool {
	switch name {
	case "", "specversion", "id", "source", "type", "subject", "time", "data", "datacontenttype", "dataschema", "datacontentencoding",
		traceparent.Header:
		return false
	}
	return strings.IndexFunc(name, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }) < 0
}
