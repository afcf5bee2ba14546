package app_test

import (
	"compress/gzip"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// otlpReceiver takes spans as a collector does, over HTTP or gRPC.
type otlpReceiver struct {
	collector.UnimplementedTraceServiceServer
	url string

	mu       sync.Mutex
	received []receivedSpan
}

// receivedSpan is a span and the process it came from.
type receivedSpan struct {
	*tracepb.Span
	process map[string]string
}

// receiveOverHTTP returns a receiver of OTLP as http/protobuf.
func receiveOverHTTP(t *testing.T) *otlpReceiver {
	t.Helper()
	r := &otlpReceiver{}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

// receiveOverGRPC returns a receiver of OTLP as grpc.
func receiveOverGRPC(t *testing.T) *otlpReceiver {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &otlpReceiver{url: "http://" + listener.Addr().String()}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, r)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // if it fails, no spans arrive, and the test fails
	}()
	t.Cleanup(func() { server.Stop(); <-served })
	return r
}

func (r *otlpReceiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body := io.Reader(request.Body)
	if request.Header.Get("Content-Encoding") == "gzip" {
		var err error
		if body, err = gzip.NewReader(request.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	text, err := io.ReadAll(body)
	export := &collector.ExportTraceServiceRequest{}
	if err == nil {
		err = proto.Unmarshal(text, export)
	}
	if err != nil || request.URL.Path != "/v1/traces" {
		http.Error(w, "not an export of traces", http.StatusBadRequest)
		return
	}
	r.take(export)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// Export implements the collector's service.
func (r *otlpReceiver) Export(_ context.Context, export *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.take(export)
	return &collector.ExportTraceServiceResponse{}, nil
}

func (r *otlpReceiver) take(export *collector.ExportTraceServiceRequest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, resource := range export.GetResourceSpans() {
		process := map[string]string{}
		for _, a := range resource.GetResource().GetAttributes() {
			process[a.GetKey()] = a.GetValue().GetStringValue()
		}
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				r.received = append(r.received, receivedSpan{span, process})
			}
		}
	}
}

// spans returns what has arrived so far.
func (r *otlpReceiver) spans() []receivedSpan {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.received)
}

// find returns the span of that name; the zero value if there is none.
func (r *otlpReceiver) find(name string) receivedSpan {
	for _, span := range r.spans() {
		if span.GetName() == name {
			return span
		}
	}
	return receivedSpan{}
}

// text returns a span's attribute as text, "" if it has none.
func (s receivedSpan) text(key string) string {
	for _, a := range s.GetAttributes() {
		if a.GetKey() == key {
			return a.GetValue().GetStringValue()
		}
	}
	return ""
}

// number returns a span's attribute as a number, 0 if it has none.
func (s receivedSpan) number(key string) int64 {
	for _, a := range s.GetAttributes() {
		if a.GetKey() == key {
			return a.GetValue().GetIntValue()
		}
	}
	return 0
}
