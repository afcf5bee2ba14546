package monitor_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"outboxd/domain"
	"outboxd/handler/handlertest"
	"outboxd/handler/monitor"
)

// The foot of a page says from which server the page reads.
func TestPagesSayThatTheyReadFromAStandby(t *testing.T) {
	t.Parallel()
	says := domain.Standby{Bytes: 4096, Behind: 3 * time.Second}
	s := handlertest.StartPages(t, func(o *monitor.Options) {
		o.Sources.Standby = func(context.Context) (domain.Standby, bool) { return says, true }
	})
	if a := s.Do(http.MethodGet, "/", "", "Accept", "text/html"); !strings.Contains(a.Body, "a standby, which is 3 s and 4,096 bytes of the log behind.") {
		t.Errorf("%d, and it does not say so:\n%.3000s", a.Status, a.Body)
	}
}
