package keeper

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// logLimit is the size in bytes above which the next start renames a server's log and begins a new one.
const logLimit = 16 << 20

// Logfile receives a server's output. Logfile is a file and not a pipe, because the server may run a moment longer than
// this process.
type Logfile struct {
	File  *os.File
	begin int64 // where this start's lines begin
}

// OpenLog opens the log of a server. If the old log is too large, OpenLog renames
// it.
func (f *Folder) OpenLog(name string) (*Logfile, error) {
	path := f.File(name + ".log")
	if info, err := os.Stat(path); err == nil && info.Size() > logLimit {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, fmt.Errorf("set log of %s aside: %w", name, err)
		}
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log of %s: %w", name, err)
	}
	if err := f.give(file); err != nil {
		_ = file.Close()
		return nil, err
	}
	begin, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("open log of %s: %w", name, err)
	}
	return &Logfile{File: file, begin: begin}, nil
}

// Explain adds the last lines that the server logged since this start to an error.
func (l *Logfile) Explain(err error) error {
	const most, lines = 4096, 12
	from := l.begin
	if info, statErr := l.File.Stat(); statErr == nil {
		from = max(from, info.Size()-most)
	}
	text, _ := io.ReadAll(io.NewSectionReader(l.File, from, most))
	said := strings.Split(strings.TrimSpace(string(text)), "\n")
	said = said[max(0, len(said)-lines):]
	return fmt.Errorf("%w; its log %s ends with:\n  %s", err, l.File.Name(), strings.Join(said, "\n  "))
}

// Close closes the file in this process; the server continues to write.
func (l *Logfile) Close() { _ = l.File.Close() }
