package domain

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
)

// FieldValue counts the dead letters that have the same value in one field of their payload.
type FieldValue struct {
	// Value has the form of PayloadField.Value. For a long value it has only the beginning, followed by a *, which
	// stands for all values with this beginning.
	Value string
	// Kind says what the field has in place of a value; "" means that it has a value.
	Kind      FieldKind
	Count     int
	FirstDied time.Time
	LastDied  time.Time
}

// FieldKind says what a payload has in a field instead of a text, a number, true or false.
type FieldKind string

// The kinds. Their text is for people.
const (
	// FieldNested is for an object or a list, which has further fields.
	FieldNested FieldKind = "an object or a list"
	// FieldMissing is also for null, and for a payload that is not JSON.
	FieldMissing FieldKind = "no value"
)

// Condition returns the condition that chooses the dead letters with this value in the field, as ParsePayloadField
// reads it. If the result out is true, the filter has to leave out the dead letters that meet the condition. The text
// is "" if no condition chooses them.
func (v *FieldValue) Condition(field string) (text string, out bool) {
	switch v.Kind {
	case FieldNested:
		return "", false
	case FieldMissing:
		return field, true
	default:
		return field + "=" + v.Value, false
	}
}

// FieldValues are the values of one field in the payloads of dead letters.
type FieldValues struct {
	Largest  []FieldValue // those with the most dead letters, at most 100, the largest first
	Distinct int          // how many values were found; Largest may have fewer
	Looked   int          // how many dead letters were read: those that died last
	More     bool         // more dead letters may match than Looked
}

// None reports whether no payload has the field.
func (v *FieldValues) None() bool {
	return v.Distinct == 0 || v.Distinct == 1 && v.Largest[0].Kind == FieldMissing
}

// ParseFieldPath reads the name of a payload field, "order.customer", without a value. Its errors have CodeInvalid.
func ParseFieldPath(text string) ([]string, error) {
	switch f, err := ParsePayloadField(text); {
	case err != nil:
		return nil, err
	case !f.Any:
		return nil, Errorf(CodeInvalid, "%.60q is not the name of a payload field alone: write order.customer, for example", text)
	default:
		return f.Path, nil
	}
}

// How many fields FieldsOf names, and how deep it looks into a payload.
const (
	fieldsNamed = 100
	fieldsDepth = 5
)

// FieldsOf returns the names of the fields that payloads in JSON have, as ParseFieldPath reads them: the fields that
// most payloads have come first. It returns at most 100, and leaves out fields that are null, in lists, or in more than five objects.
func FieldsOf(payloads [][]byte) []string {
	met := map[string]int{}
	for _, payload := range payloads {
		var object map[string]json.RawMessage
		if json.Unmarshal(payload, &object) == nil {
			countFields(met, "", object, 1)
		}
	}
	names := slices.SortedFunc(maps.Keys(met), func(a, b string) int {
		return cmp.Or(cmp.Compare(met[b], met[a]), cmp.Compare(a, b))
	})
	return names[:min(len(names), fieldsNamed)]
}

func countFields(met map[string]int, prefix string, object map[string]json.RawMessage, depth int) {
	for name, value := range object {
		if name == "" || strings.ContainsAny(name, ".=") {
			continue
		}
		var inner map[string]json.RawMessage
		switch {
		case value[0] == '{':
			if depth < fieldsDepth && json.Unmarshal(value, &inner) == nil {
				countFields(met, prefix+name+".", inner, depth+1)
			}
		case value[0] != '[' && string(value) != "null":
			met[prefix+name]++
		}
	}
}
