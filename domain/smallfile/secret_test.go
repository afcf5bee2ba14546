package smallfile_test

import (
	"os"
	"path/filepath"
	"testing"

	"outboxd/domain"
	"outboxd/domain/smallfile"
)

func TestAFileOfAPasswordHasALimit(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("p w\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if secret, err := smallfile.Secret(file).Read(); err != nil || secret != "p w" {
		t.Errorf("%q, %v", secret, err)
	}
	if err := os.WriteFile(file, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := smallfile.Secret(file).Read(); domain.ErrorCode(err) != domain.CodeInvalid {
		t.Errorf("an empty file: %v", err)
	}
	if _, err := smallfile.Secret("/dev/zero").Read(); domain.ErrorCode(err) != domain.CodeInvalid { // it has no end
		t.Errorf("a file without an end: %v", err)
	}
}
