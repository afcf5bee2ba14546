package show

import (
	"bytes"
	"regexp"
	"slices"

	"outboxd/domain/words"
)

// Visible replaces invisible characters in a page, whether they come from a payload, an
// error or a name. Visible replaces them in the page's text, and in the attributes that
// people see or hear. Visible does not change other attributes, because forms and links
// send them back. The page must come from html/template: then < and > stand only around
// tags.
func Visible(page []byte) []byte {
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
		shown.Write(visibleTag(page[:tag]))
		page = page[tag:]
	}
	return shown.Bytes()
}

// lineBreak is Unicode's picture of a line feed. words.Visible keeps line breaks.
const lineBreak = "\u240a"

var (
	shownAttributes = regexp.MustCompile(`\s(?:title|aria-label|alt|placeholder|data-title|data-label)="[^"]*"`)
	shownValue      = regexp.MustCompile(`\svalue="[^"]*"`)
	hiddenInput     = regexp.MustCompile(`\stype="?(?:hidden|checkbox|radio)\b`)
)

// visibleTag replaces invisible characters in those attributes of a tag that people see or
// hear. One such attribute is the value of a field that people see, or of an option that they may
// choose for a field. A field has one line, so a browser would remove the line breaks of its value:
// they get a sign too. Typed turns the text of such a field back.
func visibleTag(tag []byte) []byte {
	if words.Visible(string(tag)) == string(tag) && !bytes.ContainsRune(tag, '\n') {
		return tag
	}
	show := func(attribute []byte) []byte { return []byte(words.Visible(string(attribute))) }
	tag = shownAttributes.ReplaceAllFunc(tag, show)
	if (bytes.HasPrefix(tag, []byte("<input")) && !hiddenInput.Match(tag)) || bytes.HasPrefix(tag, []byte("<option")) {
		tag = shownValue.ReplaceAllFunc(tag, func(value []byte) []byte {
			// The first character stands before the attribute.
			return slices.Concat(value[:1], bytes.ReplaceAll(show(value[1:]), []byte{'\n'}, []byte(lineBreak)))
		})
	}
	return tag
}

// Typed returns what a person meant by the text of a field. Where Visible showed signs for
// invisible characters, Typed returns the characters themselves.
func Typed(text string) string { return words.Original(text) }
