package app_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-rod/rod"
	"github.com/go-rod/rod/lib/cdp"
	"github.com/go-rod/rod/lib/input"
	"github.com/go-rod/rod/lib/launcher"
	"github.com/go-rod/rod/lib/launcher/flags"
	"github.com/go-rod/rod/lib/proto"
)

// asynqmonsFonts is the address of fonts that Asynqmon's page tries to load from another site. The
// page's policy forbids it.
const asynqmonsFonts = "https://fonts.googleapis.com/"

// browser is a headless Chromium that only this test uses.
type browser struct {
	*rod.Browser
	t *testing.T
}

func startBrowser(t *testing.T) browser {
	t.Helper()
	binary, found := launcher.LookPath()
	if !found {
		t.Fatal("the test needs Chromium or Chrome: install chromium")
	}
	l := launcher.New().Bin(binary).Leakless(false).NoSandbox(os.Geteuid() == 0).
		UserDataDir(t.TempDir()).
		Set(flags.Headless, "new").
		Set("disable-gpu").Set("no-first-run").Set("disable-background-networking").Set("disable-component-update").Set("disable-sync").
		Set("no-default-browser-check").Set("lang", "en-US")
	address, err := l.Launch()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	b := rod.New().Context(ctx).ControlURL(address)
	if err := b.Connect(); err != nil {
		l.Kill()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close the browser: %v", err)
			l.Kill()
		}
		cancel()
		l.Cleanup()
	})
	// Every Must method ends the test instead of panicking.
	return browser{b.WithPanic(func(fault any) { t.Helper(); t.Fatalf("%v, asked for by\n%s", fault, testLines()) }), t}
}

// testLines returns the lines of this package's tests that are being run by the caller,
// the innermost first: the browser's package reports a line of its own.
func testLines() string {
	var lines strings.Builder
	callers := make([]uintptr, 32)
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers)])
	for more := true; more; {
		var frame runtime.Frame
		frame, more = frames.Next()
		if strings.HasSuffix(frame.File, "_test.go") {
			fmt.Fprintf(&lines, "%s:%d\n", filepath.Base(frame.File), frame.Line)
		}
	}
	return lines.String()
}

// tab is a page that records the URLs of its requests, and its faults: failed requests, error statuses, and errors
// and warnings of scripts and of the console.
type tab struct {
	*rod.Page
	t    *testing.T
	host string

	mu       sync.Mutex
	requests map[proto.NetworkRequestID]string // URLs
	faults   []string
	blocked  int // requests that the page's own policy kept the browser from sending
}

// open opens an empty tab for the pages of one host.
func (b browser) open(host string) *tab {
	b.t.Helper()
	page := b.MustPage("about:blank")
	p := &tab{Page: page.Timeout(5 * patience), t: b.t, host: host, requests: map[proto.NetworkRequestID]string{}}
	listening := page.EachEvent(p.requested, p.failed, p.responded, p.complained, p.threw, p.logged)
	var done sync.WaitGroup
	done.Go(listening)
	b.t.Cleanup(func() {
		if err := page.Close(); err != nil {
			b.t.Errorf("close the tab: %v", err)
		}
		done.Wait()
	})
	return p
}

func (p *tab) fault(format string, args ...any) {
	p.faults = append(p.faults, fmt.Sprintf(format, args...))
}

func (p *tab) requested(e *proto.NetworkRequestWillBeSent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests[e.RequestID] = e.Request.URL
}

func (p *tab) failed(e *proto.NetworkLoadingFailed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	url := p.requests[e.RequestID]
	if e.BlockedReason == proto.NetworkBlockedReasonCsp && strings.HasPrefix(url, asynqmonsFonts) {
		p.blocked++
		delete(p.requests, e.RequestID) // it was never sent
		return
	}
	if !e.Canceled {
		p.fault("%s failed: %s", url, e.ErrorText)
	}
}

func (p *tab) responded(e *proto.NetworkResponseReceived) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.Response.Status >= 400 {
		p.fault("%s was answered with %d", e.Response.URL, e.Response.Status)
	}
}

func (p *tab) complained(e *proto.RuntimeConsoleAPICalled) {
	if e.Type != proto.RuntimeConsoleAPICalledTypeError && e.Type != proto.RuntimeConsoleAPICalledTypeWarning {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var text []string
	for _, arg := range e.Args {
		text = append(text, arg.Description+arg.Value.String())
	}
	p.fault("the console has a %s: %s", e.Type, strings.Join(text, " "))
}

func (p *tab) threw(e *proto.RuntimeExceptionThrown) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault("a script failed: %s %s", e.ExceptionDetails.Text, thrown(e.ExceptionDetails))
}

// thrown says what a script threw, and where.
func thrown(details *proto.RuntimeExceptionDetails) string {
	if details.Exception == nil {
		return details.URL
	}
	return details.Exception.Description
}

func (p *tab) logged(e *proto.LogEntryAdded) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if strings.Contains(e.Entry.Text, asynqmonsFonts) && strings.Contains(e.Entry.Text, "Content Security Policy") {
		return
	}
	if e.Entry.Level == proto.LogLogEntryLevelError || e.Entry.Level == proto.LogLogEntryLevelWarning {
		p.fault("the browser logs: %s (%s)", e.Entry.Text, e.Entry.URL)
	}
}

// wantQuiet fails the test if a page asked another host than its own, or reported an
// error that is not expected.
func (p *tab) wantQuiet(expected ...string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	own := 0
	for _, url := range p.requests {
		switch {
		case strings.HasPrefix(url, "http://"+p.host+"/"):
			own++
		case !strings.HasPrefix(url, "data:") && url != "about:blank":
			p.t.Errorf("the page asks for %s", url)
		}
	}
	if own == 0 {
		p.t.Error("the page asks for nothing: nobody listened")
	}
	for _, fault := range p.faults {
		if !slices.ContainsFunc(expected, func(text string) bool { return strings.Contains(fault, text) }) {
			p.t.Error(fault)
		}
	}
	p.t.Logf("%d requests to its own host, kept from %d others", own, p.blocked)
	p.faults = nil
}

// see takes a picture of the page on a wide screen and one on a telephone, if the flag
// -screenshots asks for it, and returns to the wide screen.
func (p *tab) see(name string) {
	p.t.Helper()
	if *screenshots == "" {
		return
	}
	// Asynqmon's charts complain about a telephone's width, which no test without pictures sees.
	p.mu.Lock()
	faults := slices.Clone(p.faults)
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.faults = faults
	}()
	if err := os.MkdirAll(*screenshots, 0o755); err != nil {
		p.t.Fatal(err)
	}
	for _, size := range []struct {
		name          string
		width, height int
	}{{"narrow", 390, 844}, {"wide", 1280, 800}} {
		p.MustSetViewport(size.width, size.height, 1, size.width < 500)
		p.MustWaitStable()
		p.MustScreenshot(filepath.Join(*screenshots, name+"-"+size.name+".png"))
	}
}

// visit opens an address of the host and waits until the page has loaded.
func (p *tab) visit(path string) {
	p.t.Helper()
	p.MustSetViewport(1280, 800, 1, false)
	err := p.Navigate("http://" + p.host + path)
	for is := (*rod.NavigationError)(nil); errors.As(err, &is) && is.Reason == "net::ERR_ABORTED"; { // by a page that was just loading itself again
		err = p.Navigate("http://" + p.host + path)
	}
	if err != nil {
		p.t.Fatalf("open %s: %v", path, err)
	}
	p.MustWaitLoad()
}

// await waits until an element with this text is there and can be seen.
func (p *tab) await(selector, text string) *rod.Element {
	p.t.Helper()
	waiting := p.Timeout(patience) // a figure may be counted only every 10 s
	for {
		element, err := waiting.ElementR(selector, text)
		if isLeft(err) {
			continue
		}
		if err != nil {
			p.t.Fatalf("there is no %s with %q: %v\n%s", selector, text, err, p.MustElement("body").MustText())
		}
		// A page that is live replaces its elements. One that was replaced is never visible again.
		if element.Timeout(2*time.Second).WaitVisible() == nil {
			return element.CancelTimeout()
		}
	}
}

// isLeft tells whether Chromium could not look at a page because the reader was just leaving it
// for the next one.
func isLeft(err error) bool {
	if errors.Is(err, cdp.ErrCtxNotFound) || errors.Is(err, cdp.ErrCtxDestroyed) {
		return true
	}
	answer := (*cdp.Error)(nil)
	return errors.As(err, &answer) && answer.Message == "Inspected target navigated or closed"
}

// press activates an element by the keyboard. A click can miss an element that moves while
// the pointer is on its way; the focus cannot.
func (p *tab) press(element *rod.Element) {
	p.t.Helper()
	element.MustType(input.Enter)
}
