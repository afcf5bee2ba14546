// Package traceparent reads the header that names the trace of an event or of a request
// (W3C Trace Context). It makes no spans.
package traceparent
