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

// Log does not send messages. Log writes messages to the log, and the complete mail that
// SMTP would send to a file. Log is for development and tests. Log is the only notifier
// that logs recipients and texts.
type Log struct {
	dir    string
	from   *netmail.Address
	logger *slog.Logger
}

// NewLog returns a notifier that writes to dir. If dir does not exist, NewLog creates it, so that
// no other user of the machine can read or write in it.
func NewLog(dir string, logger *slog.Logger) (*Log, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the mail directory: %w", err)
	}
	from := &netmail.Address{Name: "outboxd", Address: "outboxd@localhost"}
	return &Log{dir: dir, from: from, logger: logger}, nil
}

// Send writes the file <event ID>.eml. For repeats Send writes <event ID>.2.eml and so
// on. When Send returns nil, the file is complete and on disk. Errors: CodeInvalid if the
// mail cannot be made; any other error comes from the file system, or says that ctx has
// ended.
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

// save writes the mail to a file. save returns the file's path, and how many copies there
// are now.
func (n *Log) save(msg *mail.Msg, id domain.ID) (path string, copies int, err error) {
	// A person may have removed the directory with the mails in it.
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

	// A link never replaces a file, unlike a rename. So two senders at the same time get
	// different names.
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

// syncDirectory makes sure that the names of new files are on disk.
func syncDirectory(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
