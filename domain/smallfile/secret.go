package smallfile

import (
	"strings"

	"outboxd/domain"
)

// Secret is the path of a file that contains a password; "" means no file. The content of the file may change
// at any time.
type Secret string

// secretMost bounds the bytes of a password, in case the path names a large file by mistake.
const secretMost = 64 << 10

// Read returns the file's text without the line breaks at its end. Errors: domain.CodeInvalid, with the name of the file.
func (f Secret) Read() (string, error) {
	text, err := Read(string(f), secretMost)
	if err != nil {
		return "", domain.Errorf(domain.CodeInvalid, "the password cannot be read: %v", err)
	}
	secret := strings.TrimRight(string(text), "\r\n")
	if secret == "" {
		return "", domain.Errorf(domain.CodeInvalid, "the file %s has no password in it", string(f))
	}
	return secret, nil
}
