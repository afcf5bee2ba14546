package app_test

import (
	"net/http"
	"strings"
	"testing"

	"outboxd/app/servertest"
)

func TestProbesHaveAnAddressOfTheirOwn(t *testing.T) {
	t.Parallel()
	servers := []string{"--database-url=" + servertest.Database(t), "--redis-url=" + servertest.Redis(t), "--probe-addr=0.0.0.0:0"}
	wantStatus := func(url string, want int) {
		t.Helper()
		if status, _ := get(t, url); status != want {
			t.Errorf("%s answers %d, want %d", url, status, want)
		}
	}
	address := func(p *process) string {
		url, _ := p.log.find("ready")["probe"].(string)
		return strings.Replace(url, "[::]", "127.0.0.1", 1)
	}
	// A relay has no pages, so it needs no token and opens no other port.
	relay := start(t, append(servers, "--roles=relay", "--monitor-addr=0.0.0.0:0")...)
	wantListeners(t, relay, 1)
	monitor := start(t, append(servers, "--roles=monitor")...)
	wantListeners(t, monitor, 2)
	for _, p := range []*process{relay, monitor} {
		for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
			wantStatus(address(p)+path, http.StatusOK)
		}
		for _, path := range []string{"/", "/signin", "/monitoring/tasks/"} {
			wantStatus(address(p)+path, http.StatusNotFound)
		}
	}
	wantStatus(monitor.monitor+"/", http.StatusOK)
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		wantStatus(monitor.monitor+path, http.StatusNotFound)
	}
	relay.stop()
	monitor.stop()
}
