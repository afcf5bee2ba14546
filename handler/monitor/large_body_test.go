package monitor_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"outboxd/handler/handlertest"
	"outboxd/handler/monitor"
)

// A form with a corrected payload may be as large as the largest payload requires. Other forms may
// not.
func TestOnlyACorrectedPayloadMayBeLarge(t *testing.T) {
	t.Parallel()
	const correct = "/events/01980000-0000-7000-8000-000000000000/correct"
	for limit, most := range map[int]int{0: 3<<20 + 64<<10, 2 << 20: 6<<20 + 64<<10} {
		s := handlertest.StartPages(t, func(o *monitor.Options) {
			o.AdminToken, o.PayloadLimit = handlertest.AdminToken, func() int { return limit }
		})
		for path, length := range map[string]int{"/dead/change": 1<<20 + 1, correct: most + 1, "/databases/a" + correct: most + 1} {
			a := s.Raw(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", path, length))
			handlertest.WantProblem(t, a, http.StatusRequestEntityTooLarge)
		}
		if a := s.Do(http.MethodPost, correct, strings.Repeat("x", most)); a.Status != http.StatusUnauthorized {
			t.Errorf("a body of %d bytes: %d %s, want to be asked who sends it", most, a.Status, a.Body)
		}
	}
}
