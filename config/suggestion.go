package config

import (
	"slices"
	"strings"
)

// suggestion returns a question that ends a message about an unknown key. The question
// names up to three options whose names resemble the key, and a section whose name
// resembles it. If there is neither, the result is "".
func (l *loading) suggestion(key string) string {
	keys := make([]string, len(l.options))
	for i, o := range l.options {
		keys[i] = o.key
	}
	near := Alike(key, keys)
	if len(near) == 0 {
		near = l.namesakes(key)
	}
	if len(near) == 0 {
		return l.sectionSuggestion(key)
	}
	for i, key := range near {
		near[i] = l.byKey[key].names()
	}
	if len(near) > 3 {
		near = near[:3]
	}
	if section := l.nearSection(key); section != "" {
		near = append(near, "the section "+section)
	}
	return ". Did you mean " + strings.Join(near, ", or ") + "?"
}

// Alike suggests what a person may have meant: it returns those of the names that differ
// least from the given name, or none if all differ much.
func Alike(name string, names []string) []string {
	var near []string
	least := 1 + min(len(name), 24)/4 // most edits between names that count as alike
	for _, n := range names {
		switch d := distance(spelling(n), spelling(name)); {
		case d < least:
			near, least = []string{n}, d
		case d == least:
			near = append(near, n)
		}
	}
	return near
}

// namesakes returns the keys, of any section or of none, whose last part is that of the given key,
// except for case, underscores and hyphens.
func (l *loading) namesakes(key string) []string {
	var keys []string
	name := spelling(key[strings.LastIndexByte(key, '.')+1:])
	for _, o := range l.options {
		if spelling(o.name()) == name {
			keys = append(keys, o.key)
		}
	}
	return keys
}

func (l *loading) sectionSuggestion(key string) string {
	if section := l.nearSection(key); section != "" {
		return ". Did you mean the section " + section + "?"
	}
	return ""
}

// nearSection returns the section whose name resembles the key, or "".
func (l *loading) nearSection(key string) string {
	for _, o := range l.options {
		if section := o.section(); section != "" && distance(section, spelling(key)) <= 2 {
			return section
		}
	}
	return ""
}

// spelling removes the differences that people easily overlook: dots, underscores,
// hyphens and upper case.
func spelling(key string) string {
	return strings.NewReplacer(".", "", "_", "", "-", "").Replace(strings.ToLower(key))
}

// distance returns the Levenshtein distance: the smallest number of bytes to insert, remove
// or replace to turn one text into the other. If a text has more than 64 bytes, the result
// is the length of the longer text.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return max(len(a), len(b))
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

// plainName returns the beginning of an unknown name, up to the first character that no
// name has, and at most 60 bytes. The rest of the text may be a secret if the user forgot a
// space.
func plainName(name string) string {
	end := strings.IndexFunc(name, func(r rune) bool {
		return !slices.Contains([]rune("._-"), r) && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
	if end < 0 {
		end = len(name)
	}
	if end > 60 {
		end = 60
	}
	if end < len(name) {
		return name[:end] + "…"
	}
	return name
}
