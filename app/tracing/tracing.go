package tracing

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
)

// Tracing exports a process's spans. A nil Tracing is valid: its tracers are nil, and
// code that gets a nil tracer makes no spans.
type Tracing struct {
	provider *sdktrace.TracerProvider
	log      *slog.Logger
}

// patience is how long a process that is ending may take to export its last spans.
// If the collector cannot be reached, those spans are lost.
const patience = 3 * time.Second

// Start reads OpenTelemetry's standard variables from the environment of the
// process, because OpenTelemetry's own code reads them from there, too. Start returns
// nil if the variables ask for no traces.
// Start contacts no server, so a missing collector does not prevent the
// start. version is outboxd's; process becomes the attribute service.instance.id.
func Start(ctx context.Context, version string, process domain.ID, log *slog.Logger) (*Tracing, error) {
	if !wanted(os.Getenv) {
		return nil, nil //nolint:nilnil // a nil Tracing makes no spans
	}
	exporter, err := newExporter(ctx, os.Getenv)
	if err != nil {
		return nil, err
	}
	about, err := describeProcess(ctx, version, process)
	if err != nil {
		log.Warn("the traces lack part of the description of this process", "error", err)
	}
	bridgeErrors(log)
	log.Info("traces are on", "protocol", protocolOf(os.Getenv))
	return &Tracing{sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about)), log}, nil
}

// Close exports the last spans, for up to 3 seconds.
func (t *Tracing) Close() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		t.log.Warn("the last spans could not be exported", "patience", patience, "error", err)
	}
}

// wanted reports whether OpenTelemetry's variables ask for traces: they name an exporter
// other than none or, without an exporter, an endpoint. OTEL_SDK_DISABLED=true turns traces
// off.
func wanted(getenv func(string) string) bool {
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") {
		return false
	}
	if exporter := getenv("OTEL_TRACES_EXPORTER"); exporter != "" {
		return exporter != "none"
	}
	return getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
}

func protocolOf(getenv func(string) string) string {
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
	switch protocol := protocolOf(getenv); protocol {
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
func describeProcess(ctx context.Context, version string, process domain.ID) (*resource.Resource, error) {
	return resource.New(ctx, resource.WithTelemetrySDK(), resource.WithHost(), resource.WithProcessPID(),
		resource.WithAttributes(semconv.ServiceName("outboxd"), semconv.ServiceVersion(version), semconv.ServiceInstanceID(process.String())),
		resource.WithFromEnv())
}

// bridgeErrors sends OpenTelemetry's errors to the log. OpenTelemetry has
// one error handler for the whole process. While the collector cannot be reached
// every export fails, so the handler logs at most once a minute.
func bridgeErrors(log *slog.Logger) {
	log, seldom := log.With("component", "opentelemetry"), &rate.Sometimes{First: 1, Interval: time.Minute}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		seldom.Do(func() { log.Warn("traces are being lost", "error", err) })
	}))
}

// Tracer returns the tracer with the name scope; nil if traces are off.
func (t *Tracing) Tracer(scope string) trace.Tracer {
	if t == nil {
		return nil
	}
	return t.provider.Tracer(scope)
}

// Statements returns a tracer for pgx. The tracer records SQL statements within
// traces, without their parameters; nil if traces are off.
func (t *Tracing) Statements() pgx.QueryTracer {
	if t == nil {
		return nil
	}
	return otelpgx.NewTracer(otelpgx.WithTracerProvider(t.provider), otelpgx.WithMeterProvider(metricnoop.NewMeterProvider()),
		otelpgx.WithDisableAcquireTracer())
}
