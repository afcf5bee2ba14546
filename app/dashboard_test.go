package app_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/go-rod/rod"
	"github.com/go-rod/rod/lib/proto"

	"outboxd/app/faulttest"
	"outboxd/app/schematest"
	"outboxd/app/servertest"
)

// TestDashboard looks at the overview while events run through, while each of
// the servers is gone, and when it is back.
func TestDashboard(t *testing.T) {
	t.Parallel()
	database, redis := faulttest.NewProxy(t, schematest.Database(t)), faulttest.NewProxy(t, servertest.Redis(t))
	p := start(t, append(on(database.URL(), redis.URL(), t.TempDir()), "--admin-token="+adminToken)...)
	b := startBrowser(t)
	page := b.open(strings.TrimPrefix(p.monitor, "http://"))

	page.visit("/")
	page.await(".station .muted", "nothing is due")
	page.await("#live", "keeps itself up to date")
	page.await("#processes-title", "Relays")
	page.await(".verdict:not(.bad) .headline", "(All well|[0-9] problems?); ")
	page.await(".badge", "leader")
	page.see("overview-empty")
	page.wantAccessible()

	register(t, p.api, "ada@example.com")
	page.await("li.station:last-child .figure", "^1$")                  // without a reload
	page.await("li.station:last-child .muted", "up to [12][0-9] s ago") // when a sample counts it, so that the charts have two
	page.await("#charts[data-drawn] .u-legend", "confirmed")
	page.zoomsCharts()
	page.wantStillLegends()
	page.press(page.MustElement("#charts summary"))
	page.await("#charts-table th", "Most pending")
	page.press(page.MustElement(`button[data-window="day"]`))
	page.await(`button[data-window="day"][aria-pressed="true"]`, "day")
	page.see("overview")
	page.wantAccessible()
	page.wantQuiet()
	page.measure("/", "#charts[data-drawn]")

	page.wantFits("light")
	page.wantFits("dark")

	redis.Refuse()
	page.await(".problems strong", "Redis cannot be reached")
	page.see("overview-without-redis")
	page.wantAccessible()
	redis.Resume()
	page.await(".verdict:not(.bad) .headline", "(All well|[0-9] problems?); ")
	database.Refuse()
	page.await(".problems strong", "PostgreSQL cannot be reached")
	page.visit("/") // the page itself stays up
	page.await(".problems strong", "PostgreSQL cannot be reached")
	page.await("#charts-none", "cannot be read")
	page.see("overview-without-postgres")
	page.wantAccessible()
	database.Resume()
	page.await(".verdict:not(.bad) .headline", "(All well|[0-9] problems?); ")
	page.wantQuiet("503") // for the charts

	page.visit("/signin")
	page.await("h1", "Sign in")
	page.wantAccessible()
	p.stop() // while the page listens
}

// zoomsCharts drags over a chart, looks at a value under the pointer, and chooses the logarithmic axis.
func (p *tab) zoomsCharts() {
	p.t.Helper()
	p.await("#chart-rates .u-legend tr:first-child", `at\s*[0-9]{2}:[0-9]{2}`)
	move := p.zoomsTo(0.5, 0.98)
	p.press(p.await("#charts-whole:not([hidden])", "Whole range"))
	p.MustElement("#charts-whole[hidden]")
	p.press(p.MustElement("#charts-log"))
	p.await("#charts-log[aria-pressed=true]", "Log")
	p.MustEval(`() => document.querySelector("#chart-rates .u-over").scrollIntoView({block: "center", behavior: "instant"})`) // a new drawing may replace it at any time
	move(0.9)
	p.await("#chart-rates .u-legend tr:first-child", "[0-9]{2}:[0-9]{2}")
	p.see("overview-log")
}

// wantStillLegends wants legends whose height does not depend on their texts, so that the pointer over a chart shifts nothing.
func (p *tab) wantStillLegends() {
	p.t.Helper()
	for _, width := range []int{1440, 1280, 1024, 700, 390} {
		p.MustSetViewport(width, 844, 1, false)
		heights := p.MustEval(`async () => {
			const height = text => {
				document.querySelectorAll("#charts .u-legend .u-value").forEach(value => { value.textContent = text; });
				return document.querySelector(".charts").getBoundingClientRect().height;
			};
			while ([...document.querySelectorAll("#charts .chart")].some(chart => chart.clientWidth !== chart.querySelector(".u-wrap").clientWidth)) {
				await new Promise(requestAnimationFrame);
			}
			return [height("–"), height("28 Nov, 09:20"), height("1,234,567")].join(" ");
		}`).Str()
		if fields := strings.Fields(heights); fields[0] != fields[1] || fields[0] != fields[2] {
			p.t.Errorf("on a screen of %d pixels the charts are %s pixels high with short, longer and long texts in their legends", width, heights)
		}
	}
	p.MustSetViewport(1280, 800, 1, false)
}

// wantAccessible lets axe-core look for barriers to accessibility.
func (p *tab) wantAccessible() {
	p.t.Helper()
	p.loadAxe()
	found := p.MustEval(`async () => (await axe.run()).violations.map(v => v.id + ": " + v.help + ": " + v.nodes.map(n => n.html).join(" | ")).join("\n")`).Str()
	if found != "" {
		p.t.Errorf("axe-core found:\n%s", found)
	}
}

// loadAxe loads axe-core into the page, unless it was loaded since the page was opened.
func (p *tab) loadAxe() {
	p.t.Helper()
	if p.MustEval(`() => "axe" in window`).Bool() {
		return
	}
	axe, err := os.ReadFile("testdata/axe/axe.min.js")
	if err != nil {
		p.t.Fatal(err)
	}
	// Load axe-core through the debugger, to which the page's policy does not apply.
	if _, err := (proto.RuntimeEvaluate{Expression: string(axe)}).Call(p.Page); err != nil {
		p.t.Fatal(err)
	}
}

// wantFits wants no scrolling to the side on a telephone. A wide screen must show the overview down to the processes without
// scrolling at all.
func (p *tab) wantFits(scheme string) {
	p.t.Helper()
	p.prefer(scheme)
	p.visit("/")
	p.await("#charts[data-drawn] .u-legend", "confirmed")
	if bottom := p.MustEval(`() => document.querySelector(".columns").getBoundingClientRect().bottom`).Int(); bottom > 800 {
		p.t.Errorf("in %s the processes end at %d of 800 pixels", scheme, bottom)
	}
	p.wantAccessible()
	p.wantNarrow("the overview in " + scheme)
	ground := p.MustEval(`() => getComputedStyle(document.body).backgroundColor`).Str()
	var red int
	if _, err := fmt.Sscanf(ground, "rgb(%d", &red); err != nil || (scheme == "dark") != (red < 128) {
		p.t.Errorf("in %s the ground is %s", scheme, ground)
	}
	p.see("overview-" + scheme)
}

// prefer sets the browser's preferred colour scheme: light or dark.
func (p *tab) prefer(scheme string) {
	p.t.Helper()
	err := proto.EmulationSetEmulatedMedia{Features: []*proto.EmulationMediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}.Call(p.Page)
	if err != nil {
		p.t.Fatal(err)
	}
}

// wantNarrow wants no scrolling to the side on a telephone, and leaves the tab as narrow as one.
func (p *tab) wantNarrow(page string) {
	p.t.Helper()
	p.MustSetViewport(390, 844, 1, true)
	p.wantNoWiderThan(390, page)
}

func (p *tab) wantNoWiderThan(pixels int, page string) {
	p.t.Helper()
	if err := p.Timeout(patience).Wait(rod.Eval(`(width) => document.documentElement.scrollWidth <= width`, pixels)); err != nil {
		p.t.Errorf("%s is %d pixels wide on a screen of %d: %v", page, p.MustEval(`() => document.documentElement.scrollWidth`).Int(), pixels, err)
	}
}

// measure reports how many bytes a page has, and when it can be used. Too many bytes fail the test. The time does not, because
// it depends on the machine.
func (p *tab) measure(path, drawn string) {
	p.t.Helper()
	p.visit(path)
	p.MustElement(drawn)
	got := p.MustEval(`() => {
		const page = performance.getEntriesByType("navigation")[0];
		const files = performance.getEntriesByType("resource").filter(r => !r.name.includes("/live"));
		const sum = key => files.reduce((n, f) => n + f[key], page[key]);
		return { bytes: sum("encodedBodySize"), decoded: sum("decodedBodySize"), files: files.length + 1, ready: page.domContentLoadedEventEnd };
	}`)
	weight := got.Get("bytes").Int()
	p.t.Logf("%s weighs %d bytes in %d files (%d unpacked), and can be used after %.0f ms", path,
		weight, got.Get("files").Int(), got.Get("decoded").Int(), got.Get("ready").Num())
	if weight == 0 || weight > 100_000 {
		p.t.Errorf("%s weighs %d bytes, want at most 100,000", path, weight)
	}
}

// TestTheLabelsOfAxesAreWhole draws a delay of more than a quarter of an hour, on screens of several widths.
func TestTheLabelsOfAxesAreWhole(t *testing.T) {
	t.Parallel()
	database := schematest.Database(t)
	p := start(t, append(on(database, servertest.Redis(t), t.TempDir()), "--admin-token="+adminToken)...)
	_, err := schematest.Connect(t, database).SQL().ExecContext(t.Context(), `
		INSERT INTO outbox_samples (at, relay, seconds, emitted, enqueued, confirmed, died, pending, held, dead, oldest_due, delay_p50, delay_p99, emitted_total, enqueued_total)
		SELECT now() - n * interval '1 minute', outbox_new_id(), 60, 1000000, 1, 1, 0, 0, 0, 0, 0, 990, 1143, 0, 0 FROM generate_series(1, 30) n`)
	if err != nil {
		t.Fatal(err)
	}
	page := startBrowser(t).open(strings.TrimPrefix(p.monitor, "http://"))
	page.visit("/")
	page.await("#charts[data-drawn] .u-legend", "confirmed")
	for _, width := range []int{1280, 390} {
		page.MustSetViewport(width, 844, 1, false)
		labels := page.MustEval(`async () => {
			const fill = CanvasRenderingContext2D.prototype.fillText, labels = [];
			CanvasRenderingContext2D.prototype.fillText = function(text, x, ...rest) {
				const left = this.textAlign === "right" ? x - this.measureText(text).width : x;
				labels.push(text + (left < 0 ? " is cut" : ""));
				return fill.call(this, text, x, ...rest);
			};
			document.querySelector("#charts-log").click(); // draws
			document.querySelector("#charts-log").click();
			for (let n = 0; n < 10; n++) { await new Promise(requestAnimationFrame); }
			CanvasRenderingContext2D.prototype.fillText = fill;
			return labels.join("; ");
		}`).Str()
		if !strings.Contains(labels, "16 min 40 s") || strings.Contains(labels, "is cut") {
			t.Errorf("on a screen of %d pixels the labels are %s", width, labels)
		}
	}
	p.stop() // while the page listens
}
