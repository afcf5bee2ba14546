package domain

import (
	"os"
	"strings"
)

// SecretFile is the name of a file with a password, which may change at any time;
// "": there is none.
type SecretFile string

// secretMost bounds what is read, in case the name is that of another file.
const secretMost = 64 << 10

// Read returns the file's text without the line break at its end. Errors:
// CodeInvalid; they name the file.
func (f SecretFile) Read() (string, error) {
	text, err := os.ReadFile(string(f))
	if err != nil {
		return "", Errorf(CodeInvalid, "the password cannot be read: %v", err)
	}
	secret := strings.TrimRight(string(text), "\r\n")
	if secret == "" || len(secret) > secretMost {
		return "", Errorf(CodeInvalid, "the file %s has no password in it", string(f))
	}
	return secret, nil
}
