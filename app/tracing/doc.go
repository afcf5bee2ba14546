// Package tracing exports this process's spans by OpenTelemetry's protocol, as
// OpenTelemetry's variables say. Package tracing makes no spans. It gives a tracer to the
// packages that make spans.
package tracing
