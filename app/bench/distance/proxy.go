package distance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Proxy adds a network delay to the connections with a server: each chunk of bytes
// arrives a fixed time after it was sent, in order, in both directions. Proxy does
// not limit the bandwidth: it delays any number of chunks at the same time.
type Proxy struct {
	dial    func(ctx context.Context) (net.Conn, error)
	oneWay  time.Duration
	observe func() (requests, replies io.WriteCloser) // called for each connection; nil: not observed

	listener net.Listener
	ctx      context.Context // ends with the proxy
	cancel   context.CancelFunc
	transit  chan parcel
	running  sync.WaitGroup
}

// parcel is a chunk that waits for its time of delivery. All chunks have the same
// delay, so they are delivered in the order of sending, and one goroutine delivers
// the chunks of all connections.
type parcel struct {
	due  time.Time
	data []byte // nil: the sender will send no more
	to   *recipient
}

// The capacity of the queue of delayed chunks: a relay has a few hundred chunks in
// it, so no sender waits for room.
const parcels = 8192

const chunkBytes = 32 << 10

// NewProxy listens on a port of 127.0.0.1 and forwards to the server that dial
// connects to.
func NewProxy(dial func(context.Context) (net.Conn, error), oneWay time.Duration, observe func() (requests, replies io.WriteCloser)) (*Proxy, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the delaying proxy: %w", err)
	}
	pause, err := newPause()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("set up the delaying proxy's clock: %w", err), listener.Close())
	}
	d := &Proxy{dial: dial, oneWay: oneWay, observe: observe, listener: listener, transit: make(chan parcel, parcels)}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.running.Go(d.accept)
	d.running.Go(func() { d.deliver(pause) })
	return d, nil
}

// Addr is where the proxy listens.
func (d *Proxy) Addr() *net.TCPAddr { return d.listener.Addr().(*net.TCPAddr) } //nolint:forcetypeassert // made above

// Close cuts every connection and waits for the proxy's goroutines.
func (d *Proxy) Close() error {
	d.cancel()
	err := d.listener.Close()
	d.running.Wait()
	return err
}

func (d *Proxy) accept() {
	for {
		near, err := d.listener.Accept()
		if err != nil {
			return // closed
		}
		d.running.Go(func() { d.connect(near) })
	}
}

func (d *Proxy) connect(near net.Conn) {
	far, err := d.dial(d.ctx)
	if err != nil {
		_ = near.Close() // a client sees a server that is not there
		return
	}
	var requests, replies io.WriteCloser = silent{}, silent{}
	if d.observe != nil {
		requests, replies = d.observe()
	}
	stop := context.AfterFunc(d.ctx, func() { _, _ = near.Close(), far.Close() })
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { d.forward(near, far, requests) })
	both.Go(func() { d.forward(far, near, replies) })
	both.Wait()
	_, _ = near.Close(), far.Close()
}

// forward copies from one end to the other with the delay. forward returns when
// everything has arrived, or when either end is gone.
func (d *Proxy) forward(from, to net.Conn, observer io.WriteCloser) {
	defer observer.Close()
	r := newRecipient()
	var writing sync.WaitGroup
	writing.Go(func() {
		r.write(to)
		// When one end of the connection is gone, close both: neither the client
		// nor the server can use the connection alone.
		_, _ = from.Close(), to.Close()
	})
	defer writing.Wait()
	buffer := make([]byte, chunkBytes)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			_, _ = observer.Write(buffer[:n])
			d.send(parcel{time.Now().Add(d.oneWay), bytes.Clone(buffer[:n]), r})
		}
		if err != nil {
			d.send(parcel{time.Now().Add(d.oneWay), nil, r})
			return
		}
	}
}

func (d *Proxy) send(p parcel) {
	select {
	case d.transit <- p:
	case <-d.ctx.Done():
	}
	// If the proxy is closing, deliver may have ended already, and the chunk may never
	// arrive. So end the recipient's stream here.
	if d.ctx.Err() != nil {
		p.to.put(nil)
	}
}

func (d *Proxy) deliver(pause *pause) {
	defer pause.close()
	for {
		select {
		case p := <-d.transit:
			if left := time.Until(p.due); left > 0 {
				pause.wait(left)
			}
			p.to.put(p.data)
		case <-d.ctx.Done():
			for {
				select {
				case p := <-d.transit:
					p.to.put(nil)
				default:
					return
				}
			}
		}
	}
}

// recipient is the client or the server at one end of a connection. recipient
// queues chunks, so that a slow reader does not delay other connections, and
// writes them as fast as its reader reads.
type recipient struct {
	mu      sync.Mutex
	arrived sync.Cond
	chunks  net.Buffers
	ended   bool
}

func newRecipient() *recipient {
	r := &recipient{}
	r.arrived.L = &r.mu
	return r
}

// put appends a chunk to the queue; nil ends the stream.
func (r *recipient) put(chunk []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if chunk == nil {
		r.ended = true
	} else {
		r.chunks = append(r.chunks, chunk)
	}
	r.arrived.Signal()
}

// write writes the queued chunks. write returns when the stream has ended or a
// write fails.
func (r *recipient) write(to io.Writer) {
	for {
		r.mu.Lock()
		for len(r.chunks) == 0 && !r.ended {
			r.arrived.Wait()
		}
		chunks := r.chunks
		r.chunks = nil
		r.mu.Unlock()
		if len(chunks) == 0 {
			return
		}
		if _, err := chunks.WriteTo(to); err != nil {
			return
		}
	}
}

// silent observes nothing.
type silent struct{}

func (silent) Write(p []byte) (int, error) { return len(p), nil }
func (silent) Close() error                { return nil }
