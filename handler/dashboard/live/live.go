// Package live does once the work that all open pages share. The package sends the parts
// of the overview that change as server-sent events, and caches the data of charts.
//
// Package dashboard renders the parts, and package shell decides who may see them.
package live

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"outboxd/domain"
)

const (
	liveEvery  = 2 * time.Second
	maxStreams = 64
)

// Frame has the parts of the overview that change, rendered at one moment.
type Frame struct{ Announced, Verdict, State []byte }

// Overview renders the changing parts of the overview every two seconds, and sends them to
// all open pages, while at least one page is open. All open pages get the same result.
type Overview struct {
	render func() (Frame, error)

	mu       sync.Mutex
	watchers map[chan []byte]bool
	stop     context.CancelFunc // ends run, which runs while there are watchers
}

// New returns an Overview. render renders the changing parts.
func New(render func() (Frame, error)) *Overview { return &Overview{render: render} }

// join adds an open page. join returns the channel of the frames to send to it, and
// a function that removes the page. frames is nil if too many pages are open.
func (l *Overview) join() (frames <-chan []byte, leave func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.watchers) >= maxStreams {
		return nil, nil
	}
	mine := make(chan []byte, 1)
	if l.watchers == nil {
		l.watchers = map[chan []byte]bool{}
	}
	l.watchers[mine] = true
	if len(l.watchers) == 1 {
		ctx, stop := context.WithCancel(context.Background())
		l.stop = stop
		go l.run(ctx)
	}
	return mine, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.watchers, mine)
		if len(l.watchers) == 0 {
			l.stop()
		}
	}
}

// run renders until the last page has left. join starts run again for a later page.
func (l *Overview) run(ctx context.Context) {
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	var told []byte
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var now Frame
		err := domain.Recovered("panic", func() (err error) {
			now, err = l.render()
			return err
		})
		if err != nil {
			continue // a request for the overview fails in the same way, and its answer says why
		}
		sent := append(event("verdict", now.Verdict), event("state", now.State)...)
		// A screen reader reads this part aloud each time it is sent, so send it
		// only if it has changed.
		if !bytes.Equal(now.Announced, told) {
			sent = append(sent, event("announced", now.Announced)...)
			told = now.Announced
		}
		l.send(sent)
	}
}

// send sends a frame to all open pages. send does not wait for slow clients: they miss
// this frame, and get a later one. A client that misses an announcement gets an
// announcement only with the next change.
func (l *Overview) send(frame []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for watcher := range l.watchers {
		select {
		case watcher <- frame:
		default:
		}
	}
}

// event returns a server-sent event in its text form. The data must not contain a
// carriage return.
func event(name string, data []byte) []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "event: %s\n", name)
	for line := range bytes.Lines(data) {
		if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 {
			fmt.Fprintf(&out, "data: %s\n", line)
		}
	}
	out.WriteByte('\n')
	return out.Bytes()
}
