package lead

import (
	"bytes"
	"slices"

	"outboxd/domain"
)

// span is a range of event IDs: greater than after, up to and including last.
type span struct{ after, last domain.ID }

// spans is a sorted list of spans that neither overlap nor touch.
type spans []span

func compareIDs(a, b domain.ID) int { return bytes.Compare(a[:], b[:]) }

// gap returns the first range of IDs after the ID after that no span of s covers.
func (s spans) gap(after domain.ID) (begin, end domain.ID) {
	i, found := slices.BinarySearchFunc(s, after, func(x span, id domain.ID) int { return compareIDs(x.after, id) })
	if !found && i > 0 && compareIDs(after, s[i-1].last) < 0 {
		i, found = i-1, true
	}
	if found {
		after, i = s[i].last, i+1
	}
	if i < len(s) {
		return after, s[i].after
	}
	return after, domain.LastID()
}

// remove removes a span from s.
func (s *spans) remove(after, last domain.ID) {
	if compareIDs(after, last) >= 0 {
		return
	}
	var rest spans
	for _, x := range *s {
		if compareIDs(x.last, after) <= 0 || compareIDs(x.after, last) >= 0 {
			rest = append(rest, x)
			continue
		}
		if compareIDs(x.after, after) < 0 {
			rest = append(rest, span{x.after, after})
		}
		if compareIDs(x.last, last) > 0 {
			rest = append(rest, span{last, x.last})
		}
	}
	*s = rest
}

// add adds a span to s.
func (s *spans) add(after, last domain.ID) {
	if compareIDs(after, last) >= 0 {
		return
	}
	var rest spans
	for _, x := range *s {
		if compareIDs(x.last, after) < 0 || compareIDs(x.after, last) > 0 {
			rest = append(rest, x)
			continue
		}
		if compareIDs(x.after, after) < 0 {
			after = x.after
		}
		if compareIDs(x.last, last) > 0 {
			last = x.last
		}
	}
	i, _ := slices.BinarySearchFunc(rest, after, func(x span, id domain.ID) int { return compareIDs(x.after, id) })
	*s = slices.Insert(rest, i, span{after, last})
}
