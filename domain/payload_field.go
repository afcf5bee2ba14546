package domain

import (
	"slices"
	"strings"
)

// PayloadField chooses events by a value in their JSON payload. The zero PayloadField
// chooses all.
type PayloadField struct {
	// Path has the names of nested fields, or the numbers of elements of a list, from 0. No
	// name contains a dot.
	Path []string
	// Value is the value at Path: the text of a string, or a number as it is written in
	// the payload. A * at its end stands for any ending.
	Value string
	Any   bool // any value matches, as long as the field exists
}

// ParsePayloadField reads "order.customer=42", "order.customer=test-*", or "order.customer" for any value; "" is
// the zero PayloadField. Its errors have CodeInvalid.
func ParsePayloadField(text string) (f PayloadField, err error) {
	if text == "" {
		return f, nil
	}
	path, value, found := strings.Cut(text, "=")
	f = PayloadField{Path: strings.Split(path, "."), Value: value, Any: !found}
	if slices.Contains(f.Path, "") {
		return PayloadField{}, Errorf(CodeInvalid, "%.60q is no field of a payload: write name=value, or order.customer=value for a field within another", text)
	}
	return f, nil
}

// ParsePayloadFields reads each text that is not empty as ParsePayloadField does.
func ParsePayloadFields(texts []string) (fields []PayloadField, err error) {
	for _, text := range Named(texts) {
		f, err := ParsePayloadField(text)
		if err != nil {
			return nil, err
		}
		fields = append(fields, f)
	}
	return fields, nil
}

// plainInJSON are characters that encoders of JSON do not escape.
const plainInJSON = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 _.:@-"

// Part returns bytes that every matching payload contains, unless its producer escaped plain
// characters without need (\u0041 for A). Part returns nil if no such bytes are known.
// Searching a payload for these bytes is much cheaper than parsing it as JSON.
func (f PayloadField) Part() []byte {
	if begin := strings.TrimSuffix(f.Value, "*"); !f.Any && isPlain(begin) {
		return []byte(begin)
	}
	for _, name := range slices.Backward(f.Path) {
		if isPlain(name) && strings.Trim(name, "0123456789+- ") != "" { // a number may stand for an element of a list
			return []byte(name)
		}
	}
	return nil
}

// isPlain reports whether no character of a text has to be escaped in JSON.
func isPlain(text string) bool { return text != "" && strings.Trim(text, plainInJSON) == "" }
