package masking

import (
	"strings"
	"testing"
)

// TestUnmaskGivesNoElementTheValueOfAnother fills in the hidden values of lists
// whose elements were moved, edited, removed or added.
func TestUnmaskGivesNoElementTheValueOfAnother(t *testing.T) {
	t.Parallel()
	const before = `{"name":"ada","cards":[{"id":1,"pin":"a"},{"id":2,"pin":"b"}]}`
	hidden := func(ids ...string) string {
		for i, id := range ids {
			ids[i] = `{"id":` + id + `,"pin":"•••"}`
		}
		return `{"cards":[` + strings.Join(ids, ",") + `]}`
	}
	for typed, want := range map[string]string{
		`{"name":"bob","cards":[{"id":1,"pin":"•••"},{"id":2,"pin":"•••"}]}`: `{"cards":[{"id":1,"pin":"a"},{"id":2,"pin":"b"}],"name":"bob"}`,
		// What was typed instead of a mask counts.
		`{"cards":[{"id":2,"pin":"c"}]}`: `{"cards":[{"id":2,"pin":"c"}]}`,
		// An element that changed its place keeps its value.
		hidden("2", "1"):      `{"cards":[{"id":2,"pin":"b"},{"id":1,"pin":"a"}]}`,
		hidden("2"):           `{"cards":[{"id":2,"pin":"b"}]}`,
		hidden("2", "1", "3"): "",
		// An edited element has the hidden value of the old element at its place, if the list changed
		// nowhere else.
		hidden("1", "3"):  `{"cards":[{"id":1,"pin":"a"},{"id":3,"pin":"b"}]}`,
		hidden("3", "1"):  "",
		hidden("4", "3"):  "",
		hidden("1", "1"):  "",
		hidden("3"):       "",
		`{"other":"•••"}`: "",
	} {
		got, err := New([]string{"pin"}).Unmask([]byte(typed), []byte(before))
		if string(got) != want || (err == nil) != (want != "") {
			t.Errorf("%s: %s, %v, want %q", typed, got, err, want)
		}
	}
	const alike = `[{"id":1,"pin":"a"},{"id":1,"pin":"b"},{"id":2,"pin":"c"}]`
	for typed, want := range map[string]string{
		`[{"id":1,"pin":"•••"},{"id":1,"pin":"•••"},{"id":2,"pin":"•••"}]`: alike,
		`[{"id":2,"pin":"•••"},{"id":1,"pin":"•••"},{"id":1,"pin":"•••"}]`: "",
	} {
		if got, err := New([]string{"pin"}).Unmask([]byte(typed), []byte(alike)); string(got) != want || (err == nil) != (want != "") {
			t.Errorf("%s: %s, %v, want %q", typed, got, err, want)
		}
	}
}
