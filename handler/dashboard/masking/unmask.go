package masking

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"

	"outboxd/domain"
)

// Unmask returns the payload that a person typed, in which each Hidden is replaced by the
// value that it stood for in the old payload. Errors: domain.CodeInvalid if the typed
// payload is not JSON, or if it is not certain which value a Hidden stands for.
func (m Mask) Unmask(typed, old []byte) ([]byte, error) {
	var now, before any
	if err := decode(typed, &now); err != nil {
		return nil, domain.Errorf(domain.CodeInvalid, "The payload is not JSON, as the old one is.")
	}
	if err := decode(old, &before); err != nil {
		before = nil // no value of the old payload can be put back
	}
	f := filler{mask: m}
	now = f.fill(now, before)
	if f.lost {
		return nil, domain.Errorf(domain.CodeInvalid, "For a hidden value (%s) it is not certain which value of the old payload it stands for: write the value itself.", Hidden)
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(now)
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), err
}

func decode(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	return decoder.Decode(into)
}

// filler puts the values of an old document in the places of hidden values.
type filler struct {
	mask Mask
	lost bool // for a hidden value, the old document has no value, or it is not certain which one is meant
}

// fill returns the edited document, in which each Hidden is replaced by its value in the
// old document. It changes the objects and lists of the edited document.
func (f *filler) fill(now, before any) any {
	switch is := now.(type) {
	case string:
		if is == Hidden {
			f.lost = f.lost || before == nil
			return before
		}
	case map[string]any:
		was, _ := before.(map[string]any)
		for name, value := range is {
			is[name] = f.fill(value, was[name])
		}
	case []any:
		was, _ := before.([]any)
		origins := f.origins(is, was)
		for i, value := range is {
			is[i] = f.fill(value, origins[i])
		}
	}
	return now
}

// origins returns, for each element of an edited list, the element of the old list from
// which it came; nil if that is not certain. An element that looks on the pages like an
// old element is that old element, wherever it stands now. One edited element with hidden
// values is taken for the old element at its place, if no element has moved.
func (f *filler) origins(is, was []any) []any {
	now, old := f.looks(is, false), f.looks(was, true)
	count, meant := map[string]int{}, map[string]any{}
	for i, look := range old {
		count[look]++
		if same, known := meant[look]; known && !reflect.DeepEqual(same, was[i]) {
			meant[look] = nil // several old elements look the same, but hide different values
		} else {
			meant[look] = was[i]
		}
	}
	inPlace, edited := len(is) == len(was), 0
	for i, look := range now {
		switch {
		case inPlace && look == old[i]:
		case count[look] > 0:
			inPlace = false
		case hasMasked(is[i]):
			edited++
		}
	}
	more := map[string]int{}
	for _, look := range now {
		more[look]++
	}
	origins := make([]any, len(is))
	for i, look := range now {
		switch {
		case inPlace && (edited <= 1 || look == old[i]):
			origins[i] = was[i]
		case more[look] <= count[look]: // otherwise one of the elements that look the same is new, or was edited
			origins[i] = meant[look]
		}
	}
	return origins
}

// looks returns the JSON text of each element of a list. If cover is true, hidden values
// are masked in it, as on the pages.
func (f *filler) looks(list []any, cover bool) []string {
	looks := make([]string, len(list))
	for i, value := range list {
		if cover {
			value = f.mask.cover(value)
		}
		text, _ := json.Marshal(value) // never fails: the value was read from JSON
		looks[i] = string(text)
	}
	return looks
}

// cover returns a value as the pages show it: with Hidden in place of each value that the
// mask hides.
func (m Mask) cover(value any) any {
	switch is := value.(type) {
	case map[string]any:
		covered := make(map[string]any, len(is))
		for name, inner := range is {
			if covered[name] = Hidden; !m.Hides(name) {
				covered[name] = m.cover(inner)
			}
		}
		return covered
	case []any:
		covered := make([]any, len(is))
		for i := range is {
			covered[i] = m.cover(is[i])
		}
		return covered
	default:
		return value
	}
}

func hasMasked(value any) bool {
	switch is := value.(type) {
	case string:
		return is == Hidden
	case map[string]any:
		for _, inner := range is {
			if hasMasked(inner) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(is, hasMasked)
	}
	return false
}
