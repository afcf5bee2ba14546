// Package tracing exports this process's spans by OpenTelemetry's protocol, as
// OpenTelemetry's variables say. It makes no spans itself: the packages that do get a
// tracer from it.
package tracing
