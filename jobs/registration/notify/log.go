package notify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	netmail "net/mail"
	"os"
	"path/filepath"

	"github.com/wneessen/go-mail"

	"outboxd/domain"
	"outboxd/domain/registration"
)

// Log shows messages instead of sending them: in the log, and as a file with
// the complete mail that SMTP would send. It is for development and tests, and
// the only notifier that logs recipients and texts.
type Log struct {
	dir    string
	from   *netmail.Address
	logger *slog.Logger
}

// NewLog returns a notifier that writes to dir. If dir is missing, it makes it,
// for this user alone.
func NewLog(dir string, logger *slog.Logger) (*Log, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the mail directory: %w", err)
	}
	from := &netmail.Address{Name: "outboxd", Address: "outboxd@localhost"}
	return &Log{dir: dir, from: from, logger: logger}, nil
}

// Send writes <event ID>.eml, and <event ID>.2.eml and so on for repeats. The
// file is complete and on disk when Send returns nil. Errors: CodeInvalid if
// the mail cannot be made; other errors are of the file system.
func (n *Log) Send(ctx context.Context, message registration.Message) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("write mail: %w", err)
	}
	msg, err := compose(n.from, message)
	if err != nil {
		return err
	}
	path, copies, err := n.save(msg, message.EventID)
	if err != nil {
		return fmt.Errorf("write mail: %w", err)
	}
	n.logger.InfoContext(ctx, "mail", "event_id", message.EventID, "copy", copies,
		"to", message.To, "subject", subject(message.Type), "text", message.Text, "file", path)
	return nil
}

// save writes the mail, and returns the file's path and the number of the copy.
func (n *Log) save(msg *mail.Msg, id domain.ID) (path string, copies int, err error) {
	// The directory may have been removed with the mails in it.
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return "", 0, err
	}
	draft, err := os.CreateTemp(n.dir, ".draft-*")
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = os.Remove(draft.Name()) }()
	_, err = msg.WriteTo(draft)
	if err == nil {
		err = draft.Sync()
	}
	if err = errors.Join(err, draft.Close()); err != nil {
		return "", 0, err
	}

	// Unlike a rename, a link never replaces a file, so two senders at the same
	// time get different names.
	path = filepath.Join(n.dir, id.String()+".eml")
	for copies = 1; ; {
		err = os.Link(draft.Name(), path)
		if !errors.Is(err, fs.ErrExist) {
			break
		}
		copies++
		path = filepath.Join(n.dir, fmt.Sprintf("%s.%d.eml", id, copies))
	}
	if err != nil {
		return "", 0, err
	}
	return path, copies, syncDirectory(n.dir)
}

// syncDirectory writes the names of new files to disk.
func syncDirectory(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
