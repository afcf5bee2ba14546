// Package smallfile reads the small files that options name, such as those with passwords and
// certificates. A wrong name must not fill the memory or stop the process.
package smallfile

import (
	"fmt"
	"io"
	"os"
	"time"
)

// within is how long a file may take to be read.
const within = 5 * time.Second

// Read reads a file of at most the given number of bytes. It refuses a longer file, such as a device
// without an end, and a file that cannot be read within five seconds, such as a pipe into which nobody writes.
// After those five seconds it leaves a goroutine behind, until the pipe is written to.
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
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case o := <-read:
		if o.err == nil && int64(len(o.text)) > most {
			return nil, fmt.Errorf("the file %s has more than %d bytes", path, most)
		}
		return o.text, o.err
	case <-timer.C:
		return nil, fmt.Errorf("the file %s gave nothing within %v", path, within)
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
