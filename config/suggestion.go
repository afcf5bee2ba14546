package config

import (
	"slices"
	"strings"
)

// suggestion returns a sentence, after a space, with the options that resemble
// an unknown key; "" if there are none.
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
	return ". Did you mean " + strings.Join(near, ", or ") + "?"
}

// Alike returns the names that are spelt most like the given one, if they are close.
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

// namesakes returns the options of any section that have the key's last part
// as their name.
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
	for _, o := range l.options {
		if section := o.section(); section != "" && distance(section, spelling(key)) <= 2 {
			return ". Did you mean the section " + section + "?"
		}
	}
	return ""
}

// spelling removes the differences that are easily confused.
func spelling(key string) string {
	return strings.NewReplacer(".", "", "_", "", "-", "").Replace(strings.ToLower(key))
}

// distance is Levenshtein's: the fewest bytes to insert, remove or replace. A
// long text counts as different from everything.
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

// plainName returns the part of an unknown name that looks like a name: after a
// missing space it may continue with a secret.
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
