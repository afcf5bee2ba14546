package dashboard

import (
	"bytes"

	"outboxd/domain/words"
)

// visible replaces invisible characters in the text of a page, whether they come from
// a payload, an error or a name. visible does not change the attributes of the page's
// elements, because forms send their values back. In a page that html/template wrote,
// < and > stand only around tags.
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
