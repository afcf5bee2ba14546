package relay

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"outboxd/domain"
	"outboxd/domain/traceparent"
)

// BenchmarkSettled measures the metrics' cost for one batch of 1,000 events.
func BenchmarkSettled(b *testing.B) {
	m := newMetrics(prometheus.NewRegistry())
	events, outcomes, now := make([]domain.Event, 1000), make([]domain.Outcome, 1000), time.Now()
	for i := range events {
		events[i].Available, outcomes[i].Verdict = now.Add(-time.Duration(i)*time.Millisecond), domain.Delivered
	}
	for b.Loop() {
		m.settled(events, outcomes, now)
	}
}

// Each event is counted once, and one event whose trace is recorded is the
// exemplar.
func TestLagHasAnExample(t *testing.T) {
	t.Parallel()
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	registry, now := prometheus.NewRegistry(), time.Now()
	m := newMetrics(registry)
	header := func(flags string) map[string]string {
		return map[string]string{traceparent.Header: "00-" + trace + "-00f067aa0ba902b7-" + flags}
	}
	events := []domain.Event{{Headers: header("00")}, {Headers: header("01")}, {Headers: header("01")}, {}}
	for i := range events {
		events[i].Available = now.Add(-time.Second)
	}
	m.settled(events, make4(domain.Delivered), now)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "outboxd_relay_lag_seconds" {
			continue
		}
		histogram := family.GetMetric()[0].GetHistogram()
		if n := histogram.GetSampleCount(); n != 4 {
			t.Errorf("counted %d events, want 4", n)
		}
		if got := examples(histogram); len(got) != 1 || got[0] != trace {
			t.Errorf("the examples are %q, want the recorded trace", got)
		}
		return
	}
	t.Error("there is no histogram of the lag")
}

func make4(v domain.Verdict) []domain.Outcome {
	return []domain.Outcome{{Verdict: v}, {Verdict: v}, {Verdict: v}, {Verdict: v}}
}

func examples(h *dto.Histogram) (traces []string) {
	for _, bucket := range h.GetBucket() {
		for _, label := range bucket.GetExemplar().GetLabel() {
			traces = append(traces, label.GetValue())
		}
	}
	return traces
}
