package drains

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"outboxd/app/bench/env"
	"outboxd/app/bench/result"
	"outboxd/app/bench/spec"
	"outboxd/jobs/publish"
	"outboxd/relay"
)

// Overhead compares draining with and without metrics and traces.
func Overhead() spec.Bench {
	return spec.Bench{
		Name:  "overhead",
		Short: "What metrics that are scraped, and traces, cost the drain",
		Long: `Drains a backlog with four arms:

  off      no traces, and nobody scrapes; the metrics count all the same
  scraped  all metrics are gathered ten times a second
  sampled  one event in a hundred has a span, handed over by OTLP to a listener that throws it away
  traced   every event has one

The ratios are the others' rates divided by that of "off".`,
		Prepare: func(flags *pflag.FlagSet) spec.Run {
			d := &Flags{}
			d.Add(flags, 50_000)
			return d.overhead
		},
	}
}

func (d *Flags) overhead(ctx context.Context, e *env.Env) (*result.Report, error) {
	report, err := d.Begin(ctx, e, "overhead")
	if err != nil {
		return nil, err
	}
	off := d.arm(e, "off", func(ctx context.Context) (result.Measurement, error) { return Relay(ctx, e, d.Events, nil) })
	watched := []*result.Contender{
		d.arm(e, "scraped", func(ctx context.Context) (result.Measurement, error) { return drainScraped(ctx, e, d.Events) }),
		d.arm(e, "sampled", func(ctx context.Context) (result.Measurement, error) { return drainTraced(ctx, e, d.Events, 0.01) }),
		d.arm(e, "traced", func(ctx context.Context) (result.Measurement, error) { return drainTraced(ctx, e, d.Events, 1) }),
	}
	if err := report.Compare(ctx, e.Reset, d.Rounds, append([]*result.Contender{off}, watched...)...); err != nil {
		return nil, err
	}
	for _, arm := range watched {
		report.Ratio(arm.Name, arm, off)
	}
	return report, nil
}

// drainScraped drains while the metrics are gathered repeatedly.
func drainScraped(ctx context.Context, e *env.Env, events int) (result.Measurement, error) {
	registry := prometheus.NewRegistry()
	ended := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(ended)
		scrape := time.NewTicker(100 * time.Millisecond)
		defer scrape.Stop()
		for {
			select {
			case <-stop:
				return
			case <-scrape.C:
				_, _ = registry.Gather() // only its cost matters
			}
		}
	}()
	defer func() { close(stop); <-ended }()
	return Relay(ctx, e, events, func(o *relay.Options) { o.Registry = registry })
}

// drainTraced drains while the given share of the events is traced.
func drainTraced(ctx context.Context, e *env.Env, events int, share float64) (m result.Measurement, err error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return m, fmt.Errorf("listen for spans: %w", err)
	}
	collector := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), ReadHeaderTimeout: time.Minute}
	served := make(chan struct{})
	go func() { defer close(served); _ = collector.Serve(listener) }()
	defer func() { _ = collector.Close(); <-served }()
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpoint(listener.Addr().String()), otlptracehttp.WithInsecure())
	if err != nil {
		return m, fmt.Errorf("set up the exporter of spans: %w", err)
	}
	counting := &countingExporter{SpanExporter: exporter}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(counting), sdktrace.WithSampler(sdktrace.TraceIDRatioBased(share)))
	m, err = Relay(ctx, e, events, func(o *relay.Options) { o.Publisher = publish.Trace(o.Publisher, provider.Tracer("bench")) })
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if stopped := provider.Shutdown(ending); err == nil && stopped != nil {
		err = fmt.Errorf("hand over the last spans: %w", stopped)
	}
	m.Figures = map[string]float64{"spans": float64(counting.spans.Load())}
	return m, err
}

// countingExporter counts the exported spans. If spans come faster than they can be
// exported, some are dropped and not counted.
type countingExporter struct {
	sdktrace.SpanExporter
	spans atomic.Int64
}

// ExportSpans implements sdktrace.SpanExporter.
func (c *countingExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	c.spans.Add(int64(len(spans)))
	return c.SpanExporter.ExportSpans(ctx, spans)
}
