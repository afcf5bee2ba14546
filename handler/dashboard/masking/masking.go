// Package masking converts payloads to text for the pages, and hides the values that only
// few people may see. The package also puts the hidden values back into a payload that
// somebody edited.
package masking

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"outboxd/domain/words"
)

// How many bytes of a payload a page shows: of text, and of binary data in
// hexadecimal, which takes about five times as much room.
const (
	textShown = 16 << 10
	hexShown  = 2 << 10
)

// Hidden is shown in place of a hidden value.
const Hidden = "•••"

// Mask hides the values of keys whose name contains one of the mask's names. Upper and
// lower case, hyphens and underscores make no difference: the name api_key hides apiKey and
// API-Key. Mask finds no keys in a payload that is not text. So a Mask with names hides such a
// payload as a whole.
type Mask struct {
	names []string
	text  *regexp.Regexp // finds keys and values in text that is not JSON; nil: no names
}

// New returns a mask of the names.
func New(names []string) Mask {
	m := Mask{}
	var patterns []string
	for _, name := range names {
		if plain := plainKey(name); plain != "" {
			m.names = append(m.names, plain)
			patterns = append(patterns, textPattern(plain))
		}
	}
	if len(patterns) > 0 {
		m.text = regexp.MustCompile(`(?i)([\w-]*(?:` + strings.Join(patterns, "|") + `)[\w-]*["']?\s*[=:]\s*)("(?:[^"\\]|\\.)*"?|'[^']*'?|(?:(?:basic|bearer|digest|token) +)?[^\s&,;]+)`)
	}
	return m
}

// textPattern returns a pattern that finds a plain key, also with hyphens and underscores between
// its letters.
func textPattern(plain string) string {
	letters := make([]string, 0, len(plain))
	for _, letter := range plain {
		letters = append(letters, regexp.QuoteMeta(string(letter)))
	}
	return strings.Join(letters, "[-_]*")
}

func plainKey(key string) string {
	return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(key))
}

// Hides reports whether the pages hide the values of a key.
func (m Mask) Hides(key string) bool {
	key = plainKey(key)
	for _, name := range m.names {
		if strings.Contains(key, name) {
			return true
		}
	}
	return false
}

// Payload is a payload as a page shows it.
type Payload struct {
	Form     string // JSON, text, hexadecimal or no text
	Text     string
	Bytes    int
	Cut      bool // Text shows only the beginning
	Withheld bool // it is no text, so Mask hides it as a whole; see Hexadecimal
}

// Line returns a text that is not JSON, such as a URL, without the values that the mask hides.
func (m Mask) Line(text string) string {
	if m.text == nil {
		return text
	}
	return m.text.ReplaceAllString(text, "${1}"+Hidden)
}

// Masked returns a payload as the pages show it, with a mask of the names.
func Masked(names []string, raw []byte) string { return New(names).Show(raw).Text }

// Show converts a payload to a form that people can read. Of a long payload Show converts only the beginning.
func (m Mask) Show(raw []byte) Payload { return m.show(raw, textShown, false) }

// Whole converts a payload like Show, but never cuts text, and writes JSON into one line. With line
// breaks, a small payload of many nested lists could take thousands of times its size.
func (m Mask) Whole(raw []byte) Payload { return m.show(raw, math.MaxInt, true) }

// show converts a payload to at most limit bytes of text.
func (m Mask) show(raw []byte, limit int, oneLine bool) Payload {
	p := Payload{Bytes: len(raw)}
	if json.Valid(raw) {
		w := &indenter{mask: m, limit: limit, oneLine: oneLine}
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.UseNumber()
		if err := w.value(decoder, 0); err == nil {
			p.Form, p.Text, p.Cut = "JSON", w.out.String(), w.cut
			return p
		}
	}
	shown := raw
	if len(shown) > limit {
		shown = shown[:limit]
		for i := 0; i < utf8.UTFMax && !utf8.Valid(shown); i++ { // the last character may be cut in two
			shown = shown[:len(shown)-1]
		}
	}
	if utf8.Valid(shown) && !bytes.ContainsRune(shown, 0) {
		p.Form, p.Text, p.Cut = "text", m.Line(string(shown)), len(raw) > limit
		return p
	}
	if len(m.names) > 0 {
		p.Form, p.Text, p.Withheld = "no text", Hidden, true
		return p
	}
	return Hexadecimal(raw)
}

// Hexadecimal converts a payload that is no text, and hides nothing.
func Hexadecimal(raw []byte) Payload {
	return Payload{Form: "hexadecimal", Text: hex.Dump(raw[:min(len(raw), hexShown)]), Bytes: len(raw), Cut: len(raw) > hexShown}
}

// indenter writes JSON with line breaks, or in one line. indenter keeps the order of the keys, and hides
// the values of the keys that mask hides.
type indenter struct {
	mask  Mask
	out   strings.Builder
	limit int
	cut   bool

	oneLine bool
}

// write appends text, up to the size limit.
func (w *indenter) write(text string) {
	if room := w.limit - w.out.Len(); len(text) > room {
		w.out.WriteString(strings.ToValidUTF8(text[:max(room, 0)], ""))
		w.cut = true
	} else {
		w.out.WriteString(text)
	}
}

func (w *indenter) value(decoder *json.Decoder, depth int) error {
	token, err := decoder.Token()
	if err != nil {
		return err
	}
	open, isDelim := token.(json.Delim)
	if !isDelim {
		w.write(quote(token))
		return nil
	}
	w.write(open.String())
	empty := true
	for ; decoder.More() && !w.cut; empty = false {
		if !empty {
			w.write(",")
		}
		w.breakLine(depth + 1)
		if err := w.member(decoder, open, depth+1); err != nil {
			return err
		}
	}
	if w.cut {
		return nil
	}
	if !empty {
		w.breakLine(depth)
	}
	end, err := decoder.Token()
	w.write(fmt.Sprint(end))
	return err
}

func (w *indenter) breakLine(depth int) {
	if !w.oneLine {
		w.write("\n" + strings.Repeat("  ", depth))
	}
}

// member writes an element of an array, or a key of an object with its value.
func (w *indenter) member(decoder *json.Decoder, of json.Delim, depth int) error {
	if of == '{' {
		key, err := decoder.Token()
		if err != nil {
			return err
		}
		name, _ := key.(string)
		w.write(quote(name) + ":")
		if !w.oneLine {
			w.write(" ")
		}
		if w.mask.Hides(name) {
			var hidden json.RawMessage
			w.write(quote(Hidden))
			return decoder.Decode(&hidden)
		}
	}
	return w.value(decoder, depth)
}

// quote writes a string, a number, true, false or null as JSON does.
func quote(token any) string {
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // the page is escaped as a whole
	_ = encoder.Encode(token)    // these values always encode
	return escaped(strings.TrimSuffix(text.String(), "\n"))
}

// escaped replaces the invisible characters of a JSON text by JSON's escapes, such as
// \u200b. A person then sees them, and a corrected copy keeps them.
func escaped(text string) string {
	if words.Visible(text) == text {
		return text
	}
	var out strings.Builder
	for _, r := range text {
		switch {
		case words.Visible(string(r)) == string(r):
			out.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		}
	}
	return out.String()
}
