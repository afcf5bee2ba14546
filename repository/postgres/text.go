package postgres

import "strings"

// maxErrorText bounds the text that is stored of an error, in bytes.
const maxErrorText = 2000

// Storable makes any text fit into a text column. It writes a question mark for
// what PostgreSQL cannot store: NUL, broken UTF-8, and characters that the
// database's encoding does not have. It cuts a long text.
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

// lastCharacter is the highest character up to which the database can certainly
// store all.
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

// ErrorText returns an error's text in a form that the database can store.
func (d *Database) ErrorText(err error) string {
	if err == nil {
		return "unknown"
	}
	return d.Storable(err.Error())
}
