package app

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// logPatience bounds how long a line may hold up whoever logs it.
const logPatience = time.Second

// logWriter writes lines to where the log goes. It never fails, and blocks for no longer than
// logPatience: a full disk, a closed pipe or a reader that does not read cost lines and
// nothing else. It is safe for concurrent use, and keeps the lines in order.
type logWriter struct {
	w io.Writer
	// notice makes the line that says how many were lost before it. nil: none is wanted.
	notice func(lost int) []byte

	mu    sync.Mutex
	stuck bool // in a write that has lasted for longer than logPatience
	lost  int  // lines since the last notice that was written
}

// Write implements io.Writer. It never returns an error.
func (l *logWriter) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stuck {
		l.lost++
		return len(line), nil
	}
	lost := l.lost
	written := make(chan error, 1)
	go func(text []byte) { _, err := l.w.Write(text); written <- err }(l.text(line))
	patience := time.NewTimer(logPatience)
	defer patience.Stop()
	select {
	case err := <-written:
		l.account(lost, err)
	case <-patience.C:
		l.stuck = true
		go l.await(lost, written)
	}
	return len(line), nil
}

// text is a line, which stays the caller's, behind a notice of those that were lost.
func (l *logWriter) text(line []byte) []byte {
	if l.lost == 0 || l.notice == nil {
		return bytes.Clone(line)
	}
	return append(l.notice(l.lost), line...)
}

// await waits for a write that nobody can end.
func (l *logWriter) await(lost int, written <-chan error) {
	err := <-written
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stuck = false
	l.account(lost, err)
}

// account notes what became of a line that said how many were lost before it.
func (l *logWriter) account(lost int, err error) {
	if err != nil {
		l.lost++
		return
	}
	l.lost -= lost
}
