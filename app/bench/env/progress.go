package env

import (
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/schollz/progressbar/v3"
)

// Progress shows a benchmark's progress on a terminal, and is silent elsewhere.
// A nil Progress is silent too. One phase runs at a time; Add may be called by
// any number of goroutines during it.
type Progress struct {
	w   io.Writer
	bar *progressbar.ProgressBar // nil: silent, or between phases
}

// NewProgress returns a Progress that writes to w if that is a terminal.
func NewProgress(w io.Writer) *Progress {
	if file, ok := w.(*os.File); ok && isatty.IsTerminal(file.Fd()) {
		return &Progress{w: w}
	}
	return &Progress{}
}

// Start begins a phase of total steps.
func (p *Progress) Start(label string, total int64) {
	if p == nil || p.w == nil {
		return
	}
	p.bar = progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(p.w),
		progressbar.OptionSetDescription(label),
		progressbar.OptionSetWidth(30),
		progressbar.OptionShowCount(),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
	)
}

// Add adds n steps.
func (p *Progress) Add(n int64) {
	if p != nil && p.bar != nil {
		_ = p.bar.Add64(n) // a step too many is no reason to fail
	}
}

// Done ends the phase and clears its line.
func (p *Progress) Done() {
	if p != nil && p.bar != nil {
		_ = p.bar.Finish()
		p.bar = nil
	}
}
