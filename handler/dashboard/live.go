package dashboard

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	liveEvery  = 2 * time.Second
	maxStreams = 64
)

// frame is what the overview shows at one moment, in parts.
type frame struct{ announced, verdict, state []byte }

// live renders the overview again and again while a page is open, once for
// all who do.
type live struct {
	render func() (frame, error)

	mu       sync.Mutex
	watchers map[chan []byte]bool
	stop     context.CancelFunc // of the loop that runs while there are watchers
}

// join returns what to send from now on, and what ends it; nil when there are
// too many already.
func (l *live) join() (frames <-chan []byte, leave func()) {
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

// run ends with the last watcher. Another one that comes then has its own.
func (l *live) run(ctx context.Context) {
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	var told []byte
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, err := l.render()
		if err != nil {
			continue // a page fails in the same way, and says why
		}
		sent := append(event("verdict", now.verdict), event("state", now.state)...)
		// A screen reader reads this whenever it is sent.
		if !bytes.Equal(now.announced, told) {
			sent = append(sent, event("announced", now.announced)...)
			told = now.announced
		}
		l.send(sent)
	}
}

// send does not wait for those who are slow: the next frame has all that this
// one has, except for the verdict, which then comes with the next change.
func (l *live) send(frame []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for watcher := range l.watchers {
		select {
		case watcher <- frame:
		default:
		}
	}
}

// event writes a server-sent event. Its data must not hold a carriage return.
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
