package smallfile_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"outboxd/domain/smallfile"
)

func TestAPipeThatNobodyWritesToIsRefused(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := smallfile.Read(pipe, 10); err == nil {
		t.Errorf("%q was read", text)
	}
	// Let the goroutine that waits for a writer end.
	writer, err := os.OpenFile(pipe, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Error(err)
	}
}
