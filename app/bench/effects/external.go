package effects

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/app/bench/env"
	"outboxd/app/bench/tally"
	"outboxd/domain/setup"
	"outboxd/jobs/deliver"
	"outboxd/jobs/work"
	"outboxd/repository/confirm"
)

// receiverTakes is how long the receiver of "external" takes to answer.
const receiverTakes = time.Millisecond

func (f *effects) runExternal(ctx context.Context, e *env.Env, t *tally.Tally) (stop func() error) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(receiverTakes):
		case <-r.Context().Done():
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	to := setup.Subscription{Name: "bench", URL: server.URL, Concurrency: f.atOnce}.WithDefaults()
	sender := deliver.NewSender(deliver.SenderOptions{Guard: deliver.NewGuard(netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")), Connections: f.atOnce})
	receiver := deliver.NewReceiver(sender, deliver.ReceiverOptions{Target: deliver.TargetOf(&to)})
	stopWorker := e.RunWorkerWith(ctx, func(o *work.Options) {
		o.Any, o.Name = deliver.Handler(deliver.HandlerOptions{
			Subscription: to, Receiver: receiver, Journal: confirm.NewDeliveryJournal(e.DB),
			Metrics: deliver.NewMetrics(prometheus.NewRegistry()), Actor: "bench", Logger: e.Log,
		}), "deliveries"
		o.Concurrency, o.Gate, o.Inbox = f.atOnce, receiver, t.Inbox(o.Inbox)
	})
	return func() error {
		err := stopWorker()
		sender.Close()
		server.Close()
		return err
	}
}
