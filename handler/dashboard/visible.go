package dashboard

import (
	"bytes"

	"outboxd/domain/words"
)

// visible replaces hidden characters in the text of a page, by whatever way they got
// there: a payload, an error, a name. It leaves attributes as they are, because forms
// send them back. In a page that html/template wrote, < and > stand only around tags.
func visible(page []byte) []byte {
	var shown bytes.Buffer
	for len(page) > 0 {
		text := page
		if at := bytes.IndexByte(page, '<'); at >= 0 {
			text = page[:at]
		}
		shown.WriteString(words.Visible(string(text)))
		page = page[len(text):]
		tag := bytes.IndexByte(page, '>') + 1
		if tag == 0 {
			tag = len(page)
		}
		shown.Write(page[:tag])
		page = page[tag:]
	}
	return shown.Bytes()
}
