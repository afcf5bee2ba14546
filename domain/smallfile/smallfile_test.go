package smallfile_test

import (
	"errors"
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
	// Nothing waits for a writer any more.
	writer, err := os.OpenFile(pipe, os.O_WRONLY|syscall.O_NONBLOCK, 0)
	if !errors.Is(err, syscall.ENXIO) {
		t.Errorf("somebody still reads: %v, %v", writer, err)
	}
}

// A pipe may get its writer only when it is read.
func TestAPipeIsReadWhenItsWriterComes(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	wrote := make(chan error, 1)
	go func() { wrote <- os.WriteFile(pipe, []byte("secret"), 0o600) }() // waits for the reader
	text, err := smallfile.Read(pipe, 10)
	if err != nil || string(text) != "secret" {
		t.Errorf("%q, %v", text, err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}
