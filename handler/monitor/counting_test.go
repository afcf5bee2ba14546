package monitor_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"outboxd/domain"
	"outboxd/domain/access"
	"outboxd/domain/lives"
	"outboxd/handler/handlertest"
	"outboxd/handler/monitor"
)

// The tables are so large that a count of less than a second finds only a part.
const enough = time.Second

type manyEvents struct{ lives.Reader }

func (manyEvents) Count(_ context.Context, f lives.Filter, _ int, patience time.Duration) (lives.Counted, error) {
	if !f.Open || f.EmittedBefore.IsZero() {
		return lives.Counted{}, domain.Errorf(domain.CodeInvalid, "more is counted than is cancelled: %+v", f)
	}
	if patience < enough {
		return lives.Counted{Events: 1204}, nil
	}
	return lives.Counted{Events: 200_001, All: true}, nil
}

type manyLetters struct{ domain.DeadLetters }

func (manyLetters) Count(_ context.Context, f domain.DeadFilter, limit int, patience time.Duration) (domain.DeadCount, error) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	switch {
	case patience < enough && f.Type == "slow":
		return domain.DeadCount{More: true, At: at}, nil
	case patience < enough:
		return domain.DeadCount{Matched: int64(limit), More: true, Types: 1, At: at}, nil
	default:
		return domain.DeadCount{Matched: 200_001, Types: 1, At: at}, nil
	}
}

// A form says at once that it covers more than it has counted, and counts the rest behind the page.
func TestAFormCountsOnBehindItsPage(t *testing.T) {
	t.Parallel()
	operator := access.NewToken()
	s := handlertest.StartPages(t, func(o *monitor.Options) {
		o.AdminToken = handlertest.AdminToken
		o.Tokens = []access.Token{{Identity: access.Identity{Name: "bob", Role: access.Operator}, Digest: access.DigestOf(operator)}}
		o.Sources.Lives, o.Sources.Dead = manyEvents{}, manyLetters{}
	})
	get := func(path, token string, headers ...string) string {
		t.Helper()
		a := s.Do(http.MethodGet, path, "", append(headers, "Accept", "text/html", "Authorization", "Bearer "+token)...)
		if a.Status != http.StatusOK {
			t.Fatalf("%s: %d %s", path, a.Status, a.Body)
		}
		return a.Body
	}
	for path, c := range map[string]struct{ first, then, action string }{
		"/events/cancel?type=a":                 {"<h1>Cancel 1,204 or more events</h1>", "<h1>Cancel 200,001 events</h1>", `hx-get="../events/cancel?as-of=2`},
		"/dead/change?action=discard&type=a":    {"<h1>Discard 10,000 or more dead letters</h1>", "<h1>Discard 200,001 dead letters</h1>", `hx-get="../dead/change?action=discard&amp;type=a&amp;until=2026-01-02`},
		"/dead/change?action=discard&type=slow": {"<h1>Discard dead letters</h1>", "<h1>Discard 200,001 dead letters</h1>", `hx-get="../dead/change?action=discard&amp;type=slow&amp;until=2026-01-02`},
	} {
		if page := get(path, handlertest.AdminToken); !strings.Contains(page, c.first) || !strings.Contains(page, c.action) || !strings.Contains(page, "Still counting.") || !strings.Contains(page, "<button class=\"danger\">") {
			t.Errorf("%s: the page is\n%s", path, page)
		}
		part := get(path, handlertest.AdminToken, "HX-Request", "true")
		if !strings.Contains(part, c.then) || strings.Contains(part, "hx-get") || strings.Contains(part, "Still counting") || strings.Contains(part, "<html") {
			t.Errorf("%s: the second count says\n%s", path, part)
		}
		// For a person who may not carry out the action, outboxd does not count for long.
		for _, headers := range [][]string{nil, {"HX-Request", "true"}} {
			page := get(path, operator, headers...)
			if !strings.Contains(page, c.first) || strings.Contains(page, `hx-get="../`) || !strings.Contains(page, "The count ended early.") {
				t.Errorf("%s, for an operator: the page is\n%s", path, page)
			}
		}
	}
}
