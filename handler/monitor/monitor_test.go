package monitor_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/domain"
	"outboxd/handler/handlertest"
	"outboxd/handler/monitor"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	s := handlertest.StartMonitor(t, func(o *monitor.Options) {
		o.Checks = []monitor.Check{{Name: "database", Run: func(context.Context) error { return errors.New("down") }}}
	})
	if a := s.Get("/healthz"); a.Status != http.StatusOK || a.Body != `{"status":"ok"}` {
		t.Errorf("%d %s: health must not depend on servers", a.Status, a.Body)
	}
	handlertest.WantProblem(t, s.Do(http.MethodPost, "/healthz", ""), http.StatusMethodNotAllowed)
	for _, path := range []string{"/", "/signin", "/monitoring/tasks/"} {
		handlertest.WantProblem(t, s.Get(path), http.StatusNotFound) // there are no pages
	}
	for _, line := range s.Log.Lines("request") {
		if line["route"] == "/healthz" && line["level"] != "DEBUG" {
			t.Errorf("health checks are logged at %v", line["level"])
		}
	}
}

func TestReady(t *testing.T) {
	t.Parallel()
	var broken, draining atomic.Bool
	s := handlertest.StartMonitor(t, func(o *monitor.Options) {
		o.Roles = []string{"api", "relay"}
		o.Warnings = func() []string { return []string{"the queue is lost at exit"} }
		o.Draining = draining.Load
		o.Checks = []monitor.Check{
			{Name: "redis", Run: func(context.Context) error { return nil }},
			{Name: "database", Run: func(context.Context) error {
				if broken.Load() {
					return domain.Wrap(domain.CodeUnavailable, errors.New("dial 10.1.2.3:5432 as admin:secret"), "the database is unavailable")
				}
				return nil
			}},
			{Name: "schema", Run: func(context.Context) error {
				if broken.Load() {
					return errors.New("dial 10.1.2.3:5432 as admin:secret")
				}
				return nil
			}},
		}
	})
	look := func(status int) monitor.Readiness {
		t.Helper()
		a := s.Get("/readyz")
		if a.Status != status || strings.Contains(a.Body, "secret") || strings.Contains(a.Body, "10.1.2.3") {
			t.Errorf("%d %s, want %d and no internals", a.Status, a.Body, status)
		}
		return handlertest.Decode[monitor.Readiness](t, a)
	}
	r := look(http.StatusOK)
	if r.Status != "ok" || strings.Join(r.Roles, ",") != "api,relay" || len(r.Warnings) != 1 || len(r.Checks) != 3 || r.Checks[1].Name != "database" {
		t.Errorf("%+v", r)
	}
	broken.Store(true)
	look(http.StatusServiceUnavailable)
	r = look(http.StatusServiceUnavailable)
	if r.Status != "failing" || r.Checks[0].Status != "ok" || r.Checks[1].Error != "the database is unavailable" || r.Checks[2].Status != "error" || r.Checks[2].Error == "" {
		t.Errorf("%+v", r)
	}
	if got := len(s.Log.Lines("not ready")); got != 2 {
		t.Errorf("logged %d failures, want each of the two once", got)
	}
	broken.Store(false)
	draining.Store(true)
	if r := look(http.StatusServiceUnavailable); r.Status != "draining" {
		t.Errorf("%+v", r)
	}
	if got := len(s.Log.Lines("ready again")); got != 2 {
		t.Errorf("logged %d recoveries, want 2", got)
	}
}

func TestReadyWithNothingToCheckHasLists(t *testing.T) {
	t.Parallel()
	s := handlertest.StartMonitor(t, nil)
	if a := s.Get("/readyz"); a.Body != `{"status":"ok","roles":[],"checks":[],"warnings":[]}` {
		t.Error(a.Body)
	}
}

func TestReadyDoesNotWaitForAStuckCheck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		var runs, side atomic.Int64
		ready := monitor.NewReadiness([]monitor.Check{
			{Name: "stuck", Run: func(context.Context) error { runs.Add(1); <-stuck; return nil }}, // ignores its context
			{Name: "slow", Run: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
			{Name: "side", Run: func(context.Context) error { side.Add(1); time.Sleep(time.Second); return nil }},
			{Name: "panics", Run: func(context.Context) error { panic("oh") }},
		})
		began := time.Now()
		r := ready()
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("took %v, want 2s: checks run at the same time and have a limit", took)
		}
		var got []string
		for _, c := range r.Checks {
			got = append(got, c.Status+" "+c.Error)
		}
		if want := "error no answer in time,error no answer in time,ok ,error failed; the log says why"; strings.Join(got, ",") != want {
			t.Errorf("%q, want %q", got, want)
		}
		if r = ready(); r.Checks[0].Error != "the previous check has not ended yet" || runs.Load() != 1 || side.Load() != 2 {
			t.Errorf("%+v; the stuck check ran %d times, the other %d", r, runs.Load(), side.Load())
		}
		close(stuck)
		synctest.Wait()
		if r = ready(); r.Checks[0].Status != "ok" || runs.Load() != 2 {
			t.Errorf("%+v", r.Checks[0])
		}
	})
}

// brokenCollector fails at every collection.
type brokenCollector struct{ desc *prometheus.Desc }

func (b brokenCollector) Describe(c chan<- *prometheus.Desc) { c <- b.desc }
func (b brokenCollector) Collect(c chan<- prometheus.Metric) {
	c <- prometheus.NewInvalidMetric(b.desc, errors.New("dial 10.1.2.3 as secret"))
}

func TestMetricsShowWhatThereIs(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	s := handlertest.StartMonitor(t, func(o *monitor.Options) { o.Registry = registry })
	registry.MustRegister(brokenCollector{prometheus.NewDesc("broken", "Fails.", nil, nil)})
	s.Get("/healthz")
	a := s.Get("/metrics")
	if a.Status != http.StatusOK || !strings.Contains(a.Body, `outboxd_http_requests_total{code="200",method="GET",route="/healthz"} 1`) {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if strings.Contains(a.Body, "secret") {
		t.Errorf("told the error: %s", a.Body)
	}
	told := s.Log.Lines("some metrics could not be gathered")
	if len(told) != 1 || !strings.Contains(fmt.Sprint(told[0]["error"]), "10.1.2.3") {
		t.Errorf("logged %v, want the error once", told)
	}
}
