package postgres

import (
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"outboxd/domain"
)

// unreadableURL says what is wrong with a URL without repeating it. pgx masks a
// password, but not in every notation.
func unreadableURL(err error) error {
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		return domain.Errorf(domain.CodeInvalid, "the file %s that the database URL names cannot be read: %v", file.Path, file.Err)
	}
	const unreadable = "the database URL cannot be read: "
	if parse, ok := errors.AsType[*pgconn.ParseConfigError](err); ok {
		anonymous := *parse
		anonymous.ConnString = ""
		// If the text is no URL at all, the password may be anywhere in it.
		if reason := strings.TrimPrefix(anonymous.Error(), "cannot parse ``: "); !strings.HasPrefix(reason, "failed to parse as") {
			return domain.Errorf(domain.CodeInvalid, "%s", unreadable+reason)
		}
	}
	return domain.Errorf(domain.CodeInvalid, "%s", unreadable+"it must look like postgres://user:password@host:5432/name")
}

// oneLine puts an error of pgx into one line. pgx writes a line for each address that it
// tried, with and without TLS, and they often repeat each other.
type oneLine struct{ error }

func (e oneLine) Unwrap() error { return e.error }

func (e oneLine) Error() string {
	head, rest, several := strings.Cut(e.error.Error(), "\n")
	if !several {
		return head
	}
	var tried []string
	for line := range strings.Lines(rest) {
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(tried, line) {
			tried = append(tried, line)
		}
	}
	return head + " " + strings.Join(tried, "; ")
}
