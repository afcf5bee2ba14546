package postgres

import "strings"

// maxErrorText bounds what is kept of an error, in bytes.
const maxErrorText = 2000

// Storable makes any text fit a text column of the database: PostgreSQL takes
// neither NUL nor broken UTF-8, nor what its encoding has no character for; a
// question mark stands for that. A long text is cut.
func (d *Database) Storable(text string) string {
	if len(text) > maxErrorText {
		text = text[:maxErrorText]
	}
	text = strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", ""), "")
	last := d.session.lastCharacter()
	return strings.Map(func(r rune) rune {
		if r > last {
			return '?'
		}
		return r
	}, text)
}

// lastCharacter is up to which character the database is sure to store all.
func (s *session) lastCharacter() rune {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.encoding {
	case "UTF8", "SQL_ASCII", "": // SQL_ASCII stores bytes
		return '\U0010FFFF'
	case "LATIN1":
		return 'ÿ'
	default:
		return '\x7f'
	}
}

// ErrorText is an error's text as the database can store it.
func (d *Database) ErrorText(err error) string {
	if err == nil {
		return "unknown"
	}
	return d.Storable(err.Error())
}
