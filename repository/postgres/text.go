package postgres

import "strings"

// maxErrorText is the largest length of a text that Storable returns, in bytes.
const maxErrorText = 2000

// Storable changes any text so that a text column can store it. Storable removes NUL and
// invalid UTF-8, and writes a question mark for each character that the database's
// encoding may not have. It cuts the text to maxErrorText bytes.
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

// lastCharacter returns a character such that the database can certainly store it and
// every character below it.
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

// ErrorText returns the text of an error, changed so that the database can store it.
func (d *Database) ErrorText(err error) string {
	if err == nil {
		return "unknown"
	}
	return d.Storable(err.Error())
}
