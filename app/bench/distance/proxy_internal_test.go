package distance

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// echo is a server that sends back what it gets.
func echo(t *testing.T) (dial func(context.Context) (net.Conn, error)) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	return func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", listener.Addr().String())
	}
}

func distant(t *testing.T, dial func(context.Context) (net.Conn, error), oneWay time.Duration) *Proxy {
	t.Helper()
	d, err := NewProxy(dial, oneWay, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func call(t *testing.T, d *Proxy) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", d.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestDistanceDelays(t *testing.T) {
	t.Parallel()
	dial := echo(t)
	for _, oneWay := range []time.Duration{500 * time.Microsecond, 20 * time.Millisecond} {
		conn := call(t, distant(t, dial, oneWay))
		for range 5 {
			begun := time.Now()
			if _, err := conn.Write([]byte("a")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begun); took < 2*oneWay {
				t.Errorf("a round trip took %v, twice %v at least", took, oneWay)
			}
		}
	}
}

// TestDistanceKeepsOrder sends more than any buffer holds, on several
// connections at once.
func TestDistanceKeepsOrder(t *testing.T) {
	t.Parallel()
	d := distant(t, echo(t), time.Millisecond)
	var calling sync.WaitGroup
	for range 4 {
		conn := call(t, d)
		calling.Go(func() {
			sent := make([]byte, 3<<20)
			_, _ = rand.Read(sent)
			var writing sync.WaitGroup
			writing.Go(func() {
				if _, err := conn.Write(sent); err != nil {
					t.Error(err)
				}
			})
			received := make([]byte, len(sent))
			if _, err := io.ReadFull(conn, received); err != nil {
				t.Error(err)
			}
			writing.Wait()
			if !bytes.Equal(received, sent) {
				t.Error("what came back is not what was sent")
			}
		})
	}
	calling.Wait()
}

// TestDistanceEnds looks at what each end sees of the other's end, and of a
// server that is not there.
func TestDistanceEnds(t *testing.T) {
	t.Parallel()
	served := make(chan net.Conn, 1)
	d := distant(t, func(context.Context) (net.Conn, error) {
		near, far := net.Pipe()
		served <- far
		return near, nil
	}, time.Millisecond)

	conn := call(t, d)
	far := <-served
	if _, err := conn.Write([]byte("last words")); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if text, err := io.ReadAll(far); string(text) != "last words" || err != nil {
		t.Errorf("the server read %q, %v", text, err)
	}

	conn = call(t, d)
	far = <-served
	_ = far.Close()
	if text, err := io.ReadAll(conn); len(text) != 0 || err != nil {
		t.Errorf("the client read %q, %v", text, err)
	}

	conn = call(t, d)
	<-served
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadAll(conn); err != nil {
		t.Errorf("after Close: %v", err)
	}

	d = distant(t, func(context.Context) (net.Conn, error) { return nil, errors.New("not there") }, 0)
	if text, err := io.ReadAll(call(t, d)); len(text) != 0 || err != nil {
		t.Errorf("of no server the client read %q, %v", text, err)
	}
}
