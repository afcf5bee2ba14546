package chaos

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
)

// output keeps the end of what the processes of a slot wrote, and the first
// thing in it that no fault excuses.
type output struct {
	mu    sync.Mutex
	line  bytes.Buffer // unfinished
	end   []byte
	cause []byte // from the alarming line on
	up    bool   // the process that runs now has logged that it is ready
}

const (
	tailBytes  = 4000
	alarmBytes = 8000
)

// alarming are the beginnings of lines, and parts of lines, that no fault excuses.
var alarming = struct{ beginnings, parts []string }{
	[]string{"panic: ", "fatal error: "},
	[]string{"DATA RACE", `"error":"panic: `, "the handler panicked"},
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.end = append(o.end, p...)
	o.end = append([]byte(nil), o.end[max(0, len(o.end)-tailBytes):]...)
	o.line.Write(p)
	for {
		end := bytes.IndexByte(o.line.Bytes(), '\n')
		if end < 0 {
			return len(p), nil
		}
		o.look(o.line.Next(end + 1))
	}
}

// begin is called when a process starts.
func (o *output) begin() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.up = false
}

// ready reports whether the process has logged that it is ready. From then on a fault
// may kill it, but no fault may make it end by itself with an error.
func (o *output) ready() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.up
}

func (o *output) look(line []byte) {
	o.up = o.up || bytes.Contains(line, []byte(`"msg":"ready"`))
	if o.cause == nil && !isAlarming(string(line)) {
		return
	}
	if len(o.cause) < alarmBytes {
		o.cause = append(o.cause, line...)
	}
}

func isAlarming(line string) bool {
	for _, beginning := range alarming.beginnings {
		if strings.HasPrefix(line, beginning) {
			return true
		}
	}
	for _, part := range alarming.parts {
		if strings.Contains(line, part) {
			return true
		}
	}
	return false
}

func (o *output) tail() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.end)
}

// last returns the last line.
func (o *output) last() string {
	text := strings.TrimSpace(o.tail())
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// alarm returns an error with the lines that no fault excuses; nil if there are none.
func (o *output) alarm() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.cause == nil {
		return nil
	}
	return fmt.Errorf("a process panicked or has a race:\n%s", o.cause)
}
