package export

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"outboxd/domain"
)

// The forms.
const (
	CSV  = "csv"  // a line with the names of the columns, then one for each row
	JSON = "json" // one list of objects
)

// Forms returns the names of all forms.
func Forms() []string { return []string{CSV, JSON} }

// Check returns an error with domain.CodeInvalid for an unknown form.
func Check(form string) error {
	if form != CSV && form != JSON {
		return domain.Errorf(domain.CodeInvalid, "%.20q is no form: the forms are csv and json", form)
	}
	return nil
}

// table writes rows that all have the same columns.
type table struct {
	w       io.Writer
	columns []string
	lines   *csv.Writer // nil: JSON
	rows    int64
}

func newTable(w io.Writer, form string, columns []string) (*table, error) {
	t := &table{w: w, columns: columns}
	if form == CSV {
		t.lines = csv.NewWriter(w)
		return t, t.lines.Write(columns)
	}
	return t, Check(form)
}

// add writes a row. Its values are in the order of the columns: strings, numbers, or
// what JSON can write.
func (t *table) add(values ...any) error {
	t.rows++
	if t.lines != nil {
		texts := make([]string, len(values))
		for i, value := range values {
			if texts[i] = fmt.Sprint(value); t.columns[i] != encodedColumn {
				texts[i] = cell(texts[i])
			}
		}
		return t.lines.Write(texts)
	}
	text := []byte("[\n")
	if t.rows > 1 {
		text = []byte(",\n")
	}
	for i, value := range values {
		name, _ := json.Marshal(t.columns[i]) // a string
		encoded, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("encode %s: %w", t.columns[i], err)
		}
		before := byte(',')
		if i == 0 {
			before = '{'
		}
		text = append(append(append(append(text, before), name...), ':'), encoded...)
	}
	_, err := t.w.Write(append(text, '}'))
	return err
}

// cell returns a text in the form that CSV needs. A spreadsheet takes a text for a formula if it begins with one of
// these characters. A payload may contain a formula that a stranger wrote and that sends other cells away. An
// apostrophe in front makes it plain text. A text that begins with an apostrophe gets another one, so that a program
// can always remove the first one.
func cell(text string) string {
	if first, _ := utf8.DecodeRuneInString(text); strings.ContainsRune("=+-@\t\r\n'＝＋－＠", first) {
		return "'" + text
	}
	return text
}

func (t *table) close() error {
	if t.lines != nil {
		t.lines.Flush()
		return t.lines.Error()
	}
	end := "\n]\n"
	if t.rows == 0 {
		end = "[]\n"
	}
	_, err := io.WriteString(t.w, end)
	return err
}
