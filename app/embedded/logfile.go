package embedded

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// logLimit is the size in bytes from which on a server's log is set aside at the next start.
const logLimit = 16 << 20

// logfile takes what a server prints, in a file of its own because the server may outlive this process by a moment.
type logfile struct {
	file  *os.File
	begin int64 // where this start's lines begin
}

func (f *folder) openLog(name string) (*logfile, error) {
	path := f.file(name + ".log")
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
	return &logfile{file: file, begin: begin}, nil
}

// explain adds the last lines of this start to an error.
func (l *logfile) explain(err error) error {
	const most, lines = 4096, 12
	from := l.begin
	if info, statErr := l.file.Stat(); statErr == nil {
		from = max(from, info.Size()-most)
	}
	text, _ := io.ReadAll(io.NewSectionReader(l.file, from, most))
	said := strings.Split(strings.TrimSpace(string(text)), "\n")
	said = said[max(0, len(said)-lines):]
	return fmt.Errorf("%w; its log %s ends with:\n  %s", err, l.file.Name(), strings.Join(said, "\n  "))
}

func (l *logfile) close() { _ = l.file.Close() }
