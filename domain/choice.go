package domain

import "strings"

// ParseHeader reads a condition on a header: "tenant=acme", or "tenant" for any value; "" is no condition. Its errors
// have CodeInvalid.
func ParseHeader(text string) (name, value string, err error) {
	name, value, _ = strings.Cut(text, "=")
	if name == "" && text != "" {
		return "", "", Errorf(CodeInvalid, "%.60q names no header: write name, or name=value", text)
	}
	return name, value, nil
}

// Header is a condition on a header.
type Header struct {
	Name  string
	Value string // "" is any
}

// ParseHeaders reads each text that is not empty as ParseHeader does.
func ParseHeaders(texts []string) (headers []Header, err error) {
	for _, text := range Named(texts) {
		var h Header
		if h.Name, h.Value, err = ParseHeader(text); err != nil {
			return nil, err
		}
		headers = append(headers, h)
	}
	return headers, nil
}

// Narrows reports whether a text that chooses names leaves some names out. The texts "" and "*" leave none out.
func Narrows(name string) bool { return name != "" && name != "*" }

// Named returns the texts that are not empty, or nil if there are none.
func Named(texts []string) (named []string) {
	for _, text := range texts {
		if text != "" {
			named = append(named, text)
		}
	}
	return named
}

// Narrows reports whether the filter has a condition that may leave a dead letter out. A command that changes dead
// letters must be told which ones: a filter that narrows nothing is not a choice.
func (f *DeadFilter) Narrows() bool {
	return len(f.IDs)+len(f.Except)+len(f.Payload.Path) > 0 ||
		Narrows(f.Type) || Narrows(f.Queue) || f.Stage != "" || f.OrderingKey != "" || f.HeaderName != "" || f.Error != "" || f.ErrorForm != "" || f.NoError ||
		len(Named(f.NotErrors))+len(Named(f.NotForms))+len(Named(f.NotTypes))+len(Named(f.NotKeys))+len(f.NotHeaders)+len(f.NotFields) > 0 ||
		f.OlderThan > 0 || f.NewerThan > 0 || !f.Since.IsZero() || !f.Until.IsZero()
}
