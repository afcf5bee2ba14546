//go:build unix

package shell

import (
	"errors"
	"syscall"
)

// isClosed reports whether the peer has closed its side of a connection. It consumes no bytes, because they may belong to
// the peer's next request.
func isClosed(connection syscall.Conn) (closed bool) {
	raw, err := connection.SyscallConn()
	if err != nil {
		return true
	}
	err = raw.Control(func(fd uintptr) {
		n, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		closed = n == 0 && err == nil || errors.Is(err, syscall.ECONNRESET)
	})
	return closed || err != nil
}
