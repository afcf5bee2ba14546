package postgres

import (
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"outboxd/domain"
)

// unreadableURL returns an error that says what is wrong with the database URL and does
// not repeat the URL. pgx masks a password, but not in every notation.
func unreadableURL(err error) error {
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		return domain.Errorf(domain.CodeInvalid, "the file %s that the database URL names cannot be read: %v", file.Path, file.Err)
	}
	const unreadable = "the database URL cannot be read: "
	if parse, ok := errors.AsType[*pgconn.ParseConfigError](err); ok {
		anonymous := *parse
		anonymous.ConnString = ""
		// If pgx cannot parse the text as a URL at all, the password may be anywhere in the
		// text.
		if reason := strings.TrimPrefix(anonymous.Error(), "cannot parse ``: "); !strings.HasPrefix(reason, "failed to parse as") {
			return domain.Errorf(domain.CodeInvalid, "%s", unreadable+reason)
		}
	}
	return domain.Errorf(domain.CodeInvalid, "%s", unreadable+"it must look like postgres://user:password@host:5432/name")
}

// oneLine writes an error of pgx in one line. pgx writes one line for each address that
// it tried, with and without TLS, and these lines are often the same.
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
