package app_test

import (
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-rod/rod"
	"github.com/go-rod/rod/lib/proto"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
)

// hearTexts writes down the texts that a page draws, such as the ticks of an axis.
const hearTexts = `window.texts = [];
const fillText = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text) { texts.push(text); return fillText.apply(this, arguments); };`

// TestCharts looks at small rates and short delays in the charts, zooms until it sees each sample, and reads large
// numbers on a telephone.
func TestCharts(t *testing.T) {
	t.Parallel()
	databaseURL := schematest.Database(t)
	if _, err := schematest.Connect(t, databaseURL).SQL().ExecContext(t.Context(), `
		INSERT INTO outbox_samples (at, relay, seconds, emitted, enqueued, confirmed, died, pending, held, dead, oldest_due, delay_p50, delay_p99, emitted_total, enqueued_total)
		SELECT now() - n * interval '10 seconds', outbox_new_id(), 10, n % 2, 1, 1, 0, 1234567, 0, 0, 0, 0.0002, 0.0009, 0, 0 FROM generate_series(0, 2160) n`); err != nil {
		t.Fatal(err)
	}
	p := start(t, append(on(databaseURL, servertest.Redis(t), t.TempDir()), "--roles=monitor")...)
	page := startBrowser(t).open(strings.TrimPrefix(p.monitor, "http://"))
	if _, err := page.EvalOnNewDocument(hearTexts); err != nil {
		t.Fatal(err)
	}
	page.visit("/")
	page.press(page.await(`button[data-window="day"]`, "1 day"))
	page.untilTrue(`() => { const n = Number(document.querySelector("#charts").dataset.drawn); return n > 0 && n < 100; }`) // a point for each five minutes
	page.untilTrue(`() => document.querySelector("#chart-delay .u-legend").innerText.includes("under 1 ms")`)
	texts := strings.Split(page.MustEval(`() => texts.join("\n")`).Str(), "\n")
	for _, want := range []string{"0.05/s", "0.5 ms"} {
		if !slices.Contains(texts, want) {
			t.Errorf("no axis has the tick %q", want)
		}
	}
	other := regexp.MustCompile(`/min$|^under|^[0-9.]+ s$`)
	for _, text := range texts {
		if other.MatchString(text) {
			t.Errorf("an axis has the tick %q", text)
		}
	}
	page.zoomsTo(0.84, 0.9)
	page.untilTrue(`() => Number(document.querySelector("#charts").dataset.drawn) > 400`) // 86 minutes, a point for each sample
	page.press(page.await("#charts-whole:not([hidden])", "Whole range"))
	page.MustElement("#charts-whole[hidden]")
	page.MustSetViewport(390, 844, 1, false)
	page.untilTrue(`() => document.querySelector("#chart-backlog .u-legend").innerText.includes("1,234,567")`)
	page.untilTrue(`() => [...document.querySelectorAll("#charts .u-legend tr")].every(entry => entry.scrollWidth <= entry.clientWidth)`) // none is cut
	page.wantQuiet()
	p.stop()
}

// TestEmptyChartsSayWhy looks at the charts while their data is on its way, and before there is any. The page is hidden from the beginning, as in a tab that is opened behind others.
func TestEmptyChartsSayWhy(t *testing.T) {
	t.Parallel()
	databaseURL := schematest.Database(t)
	p := start(t, append(on(databaseURL, servertest.Redis(t), t.TempDir()), "--roles=monitor")...)
	page := startBrowser(t).open(strings.TrimPrefix(p.monitor, "http://"))
	if _, err := page.EvalOnNewDocument(`Object.defineProperty(document, "hidden", { get: () => !window.seen })`); err != nil {
		t.Fatal(err)
	}
	var held sync.RWMutex // locked while the charts get no answer
	requests := page.HijackRequests()
	requests.MustAdd("*/history?*", func(h *rod.Hijack) {
		held.RLock()
		defer held.RUnlock()
		h.ContinueRequest(&proto.FetchContinueRequest{})
	})
	go requests.Run()
	t.Cleanup(requests.MustStop)

	held.Lock()
	page.visit("/")
	page.await("#charts-none", "^Loading …$")
	held.Unlock()
	page.await("#charts-none", "^No data yet for this time")
	if _, err := schematest.Connect(t, databaseURL).SQL().ExecContext(t.Context(), `
		INSERT INTO outbox_samples (at, relay, seconds, emitted, enqueued, confirmed, died, pending, held, dead, oldest_due, delay_p50, delay_p99, emitted_total, enqueued_total)
		SELECT now() - n * interval '10 seconds', outbox_new_id(), 10, 1, 1, 1, 0, 7, 0, 0, 0, 0.0002, 0.0009, 0, 0 FROM generate_series(60, 120) n`); err != nil {
		t.Fatal(err)
	}
	held.Lock()
	page.visit("/")
	page.await("#charts-none", "^Loading …$")
	held.Unlock()
	page.MustEval("() => { window.seen = true; }") // the server may remember for some seconds that there was no data
	page.await("#chart-backlog .u-legend", `pending\s*7`)
	page.MustElement("#charts-none[hidden]")
	held.Lock()
	page.press(page.await(`button[data-window="day"]`, "1 day"))
	page.await("#charts-none", "^Loading …$")
	held.Unlock()
	page.MustElement("#charts-none[hidden]")
	// The last sample is ten minutes old.
	page.await("#chart-backlog .u-legend tr:first-child", `at\s*[0-9]{2}:[0-9]{2}`)
	page.wantQuiet()
	p.stop()
}

// untilTrue waits until a function returns true in the page.
func (p *tab) untilTrue(function string) {
	p.t.Helper()
	if err := p.Timeout(patience).Wait(rod.Eval(function)); err != nil {
		p.t.Fatalf("never true: %s: %v\n%s", function, err, p.MustElement("#charts").MustText())
	}
}

// zoomsTo drags over the chart of rates, from one share of its width to another. It returns what moves the pointer
// over this chart.
func (p *tab) zoomsTo(from, until float64) (move func(share float64)) {
	p.t.Helper()
	var box struct{ X, Y, Width, Height float64 }
	// In one step, because a new drawing may replace the chart at any time.
	err := p.MustEval(`() => {
		const chart = document.querySelector("#chart-rates .u-over");
		chart.scrollIntoView({block: "center", behavior: "instant"});
		const {x, y, width, height} = chart.getBoundingClientRect();
		return {x, y, width, height};
	}`).Unmarshal(&box)
	if err != nil {
		p.t.Fatal(err)
	}
	move = func(share float64) {
		p.t.Helper()
		if err := p.Mouse.MoveTo(proto.Point{X: box.X + share*box.Width, Y: box.Y + box.Height/2}); err != nil {
			p.t.Fatal(err)
		}
	}
	move(from)
	p.Mouse.MustDown(proto.InputMouseButtonLeft)
	move((from + until) / 2)
	move(until)
	p.Mouse.MustUp(proto.InputMouseButtonLeft)
	return move
}
