package relay_test

import (
	"log/slog"
	"strings"
	"testing"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/redistest"
	"outboxd/domain"
	"outboxd/jobs/publish"
	"outboxd/relay"
	"outboxd/relay/lead"
	"outboxd/repository/confirm"
)

// Redis takes no writes because it has too few replicas. The breaker logs that, and
// the reader of acknowledgements does not log it again.
func TestReadingAcknowledgementsIsSilentInAnOutage(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	admin, log := connect(t, server.URL()), &journal{}
	url := schematest.Database(t)
	f := newFixture(t, url, server.URL(), func(o *relay.Options) {
		handle := openRedis(t, server.URL())
		o.Acknowledging = &lead.Acknowledging{
			Open:   func() (domain.Acknowledgements, error) { return publish.NewAcknowledgements(handle), nil },
			Events: confirm.NewAcknowledgedEvents(schematest.Connect(t, url)),
		}
		o.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	if err := admin.ConfigSet(t.Context(), "min-replicas-to-write", "1").Err(); err != nil {
		t.Fatal(err)
	}
	f.start()
	f.exec(emitMany, 1)
	servertest.Eventually(f.t, "the breaker is open", func() bool { return f.relay.QueueUsable() != nil })
	const failed = "could not confirm what consumers with another database acknowledged"
	servertest.Eventually(f.t, "acknowledgements cannot be read", func() bool { return strings.Contains(log.String(), failed) })
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, failed) && strings.Contains(line, "level=WARN") {
			t.Errorf("it is said once more: %s", line)
		}
	}
}
