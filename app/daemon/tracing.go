package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	"outboxd/config"
	"outboxd/domain"
	"outboxd/jobs/publish"
)

// tracing exports a process's spans. The methods of a nil tracing return nil. Code
// that gets a nil tracer makes no spans.
type tracing struct{ provider *sdktrace.TracerProvider }

// tracingPatience is how long a process that is ending may take to export its last spans.
// If the collector cannot be reached, those spans are lost.
const tracingPatience = 3 * time.Second

// startTracing reads OpenTelemetry's standard variables from the environment of the
// process, because OpenTelemetry's own code reads them from there, too.
// startTracing contacts no server, so a missing collector does not prevent the
// start.
func (d *Daemon) startTracing(ctx context.Context) error {
	if !tracingWanted(os.Getenv) {
		return nil
	}
	exporter, err := newExporter(ctx, os.Getenv)
	if err != nil {
		return err
	}
	about, err := describeProcess(ctx, d.build, d.process)
	if err != nil {
		d.log.Warn("the traces lack part of the description of this process", "error", err)
	}
	bridgeTracingErrors(d.log)
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	d.traces = &tracing{provider}
	d.undo = append(d.undo, func() {
		ctx, cancel := context.WithTimeout(context.Background(), tracingPatience)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			d.log.Warn("the last spans could not be exported", "patience", tracingPatience, "error", err)
		}
	})
	d.log.Info("traces are on", "protocol", tracingProtocol(os.Getenv))
	return nil
}

// tracingWanted reports whether OpenTelemetry's variables ask for traces: whether
// they name an exporter or its endpoint.
func tracingWanted(getenv func(string) string) bool {
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") {
		return false
	}
	if exporter := getenv("OTEL_TRACES_EXPORTER"); exporter != "" {
		return exporter != "none"
	}
	return getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
}

func tracingProtocol(getenv func(string) string) string {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if protocol := getenv(name); protocol != "" {
			return protocol
		}
	}
	return "http/protobuf"
}

func newExporter(ctx context.Context, getenv func(string) string) (exporter sdktrace.SpanExporter, err error) {
	if name := getenv("OTEL_TRACES_EXPORTER"); name != "" && name != "otlp" {
		return nil, config.Mistake{Err: fmt.Errorf("OTEL_TRACES_EXPORTER=%q: outboxd has the exporters otlp and none", name)}
	}
	switch protocol := tracingProtocol(getenv); protocol {
	case "http/protobuf":
		exporter, err = otlptracehttp.New(ctx)
	case "grpc":
		exporter, err = otlptracegrpc.New(ctx)
	default:
		return nil, config.Mistake{Err: fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL=%q: outboxd speaks http/protobuf and grpc", protocol)}
	}
	if err != nil {
		return nil, fmt.Errorf("set up the exporter of traces: %w", err)
	}
	return exporter, nil
}

// describeProcess returns the attributes of this process for its spans.
// describeProcess leaves out the command line, which may contain passwords.
// OpenTelemetry's variables take precedence.
func describeProcess(ctx context.Context, build Build, process domain.RelayProcess) (*resource.Resource, error) {
	return resource.New(ctx, resource.WithTelemetrySDK(), resource.WithHost(), resource.WithProcessPID(),
		resource.WithAttributes(semconv.ServiceName("outboxd"), semconv.ServiceVersion(build.Version), semconv.ServiceInstanceID(process.ID.String())),
		resource.WithFromEnv())
}

// bridgeTracingErrors sends OpenTelemetry's errors to the log. OpenTelemetry has
// one error handler for the whole process. While the collector cannot be reached
// every export fails, so the handler logs at most once a minute.
func bridgeTracingErrors(log *slog.Logger) {
	log, seldom := log.With("component", "opentelemetry"), &rate.Sometimes{First: 1, Interval: time.Minute}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		seldom.Do(func() { log.Warn("traces are being lost", "error", err) })
	}))
}

// tracer returns the tracer with the name scope; nil if traces are off.
func (t *tracing) tracer(scope string) trace.Tracer {
	if t == nil {
		return nil
	}
	return t.provider.Tracer(scope)
}

// statements returns a tracer for pgx. The tracer records SQL statements within
// traces, without their parameters; nil if traces are off.
func (t *tracing) statements() pgx.QueryTracer {
	if t == nil {
		return nil
	}
	return otelpgx.NewTracer(otelpgx.WithTracerProvider(t.provider), otelpgx.WithMeterProvider(metricnoop.NewMeterProvider()),
		otelpgx.WithDisableAcquireTracer())
}

// traced returns p unchanged if traces are off, or a Publisher that also makes
// spans.
func (d *Daemon) traced(p domain.Publisher) domain.Publisher {
	if d.traces == nil {
		return p
	}
	return publish.Trace(p, d.traces.tracer("outboxd/jobs"))
}
