// Package smallfile reads the small files that options name, such as those with passwords and
// certificates. A wrong name must not fill the memory or stop the process.
package smallfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// within is how long a file may take to be read.
const within = 5 * time.Second

// Read reads a file of at most the given number of bytes. It refuses a longer file, such as a device
// without an end, and a file that cannot be read within five seconds, such as a pipe into which nobody writes.
// If a disk does not answer, it leaves a goroutine behind.
func Read(path string, most int64) ([]byte, error) {
	type outcome struct {
		text []byte
		err  error
	}
	read := make(chan outcome, 1)
	go func() {
		text, err := readStart(path, most+1)
		read <- outcome{text, err}
	}()
	timer := time.NewTimer(within + time.Second) // readPipe ends before
	defer timer.Stop()
	select {
	case o := <-read:
		if o.err == nil && int64(len(o.text)) > most {
			return nil, fmt.Errorf("the file %s has more than %d bytes", path, most)
		}
		return o.text, o.err
	case <-timer.C:
		return nil, tooSlow(path)
	}
}

func readStart(path string, bytes int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	isPipe := info.Mode()&os.ModeNamedPipe != 0
	flags := os.O_RDONLY
	if isPipe {
		// Otherwise opening a pipe without a writer would keep a thread of this process for ever.
		flags |= syscall.O_NONBLOCK
	}
	file, err := os.OpenFile(path, flags, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if isPipe {
		return readPipe(file, bytes)
	}
	return io.ReadAll(io.LimitReader(file, bytes))
}

// pipePause is the time between two looks at a pipe that has no writer yet.
const pipePause = 20 * time.Millisecond

// readPipe waits for a writer, and reads what it writes. A pipe without a writer seems to be empty.
func readPipe(file *os.File, bytes int64) ([]byte, error) {
	end := time.Now().Add(within)
	_ = file.SetReadDeadline(end) // not every system has deadlines for every pipe
	for {
		text, err := io.ReadAll(io.LimitReader(file, bytes))
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded), err == nil && len(text) == 0 && time.Now().After(end):
			return nil, tooSlow(file.Name())
		case err != nil || len(text) > 0:
			return text, err
		}
		<-time.After(pipePause)
	}
}

func tooSlow(path string) error {
	return fmt.Errorf("the file %s gave nothing within %v", path, within)
}
