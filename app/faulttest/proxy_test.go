package faulttest_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"outboxd/app/faulttest"
	"outboxd/app/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

func TestProxy(t *testing.T) {
	t.Parallel()
	proxy := faulttest.NewProxy(t, servertest.Redis(t))
	client := servertest.Client(t, proxy.URL())
	ping := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		return client.Ping(ctx).Err()
	}
	steps := []struct {
		name string
		do   func()
		want bool
	}{
		{"at first", func() {}, true},
		{"stalled", proxy.Stall, false},
		{"resumed", proxy.Resume, true},
		{"reset", proxy.Reset, true}, // the client connects again
		{"refusing", proxy.Refuse, false},
		{"refusing no more", proxy.Resume, true},
	}
	for _, step := range steps {
		step.do()
		if err := ping(); (err == nil) != step.want {
			t.Errorf("%s: ping gives %v", step.name, err)
		}
	}
	if addr := proxy.Addr(); !strings.HasPrefix(addr, "127.0.0.1:") {
		t.Errorf("the proxy listens on %s", addr)
	}
	database := faulttest.NewProxy(t, servertest.Database(t))
	servertest.Execute(t, database.URL(), `CREATE TABLE public.through_the_proxy (id int)`)
}
