package domain

import (
	"fmt"
	"io"
	"os"
	"time"
)

// fileWithin is how long a small file may take to be read.
const fileWithin = 5 * time.Second

// ReadSmallFile reads a file of at most the given number of bytes. It refuses a longer file, such as a device
// without an end, and a file that cannot be read within five seconds, such as a pipe into which nobody writes.
// After those five seconds it leaves a goroutine behind, until the pipe is written to.
func ReadSmallFile(path string, most int64) ([]byte, error) {
	type outcome struct {
		text []byte
		err  error
	}
	read := make(chan outcome, 1)
	go func() {
		text, err := readStart(path, most+1)
		read <- outcome{text, err}
	}()
	timer := time.NewTimer(fileWithin)
	defer timer.Stop()
	select {
	case o := <-read:
		if o.err == nil && int64(len(o.text)) > most {
			return nil, fmt.Errorf("the file %s has more than %d bytes", path, most)
		}
		return o.text, o.err
	case <-timer.C:
		return nil, fmt.Errorf("the file %s gave nothing within %v", path, fileWithin)
	}
}

func readStart(path string, bytes int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, bytes))
}
