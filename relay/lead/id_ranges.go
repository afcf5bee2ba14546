package lead

import (
	"bytes"
	"slices"

	"outboxd/domain"
)

// idRange is a range of event IDs: those greater than the field after, up to and including the field last.
type idRange struct{ after, last domain.ID }

// idRanges is a sorted list of ranges of event IDs that neither overlap nor touch.
type idRanges []idRange

func compareIDs(a, b domain.ID) int { return bytes.Compare(a[:], b[:]) }

// gap returns the first range of IDs greater than the given one that s does not cover: the IDs greater than
// the result begin, up to and including the result end.
func (s idRanges) gap(after domain.ID) (begin, end domain.ID) {
	i, found := slices.BinarySearchFunc(s, after, func(x idRange, id domain.ID) int { return compareIDs(x.after, id) })
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

// remove removes from s the IDs greater than the first given ID, up to and including the second.
func (s *idRanges) remove(after, last domain.ID) {
	if compareIDs(after, last) >= 0 {
		return
	}
	var rest idRanges
	for _, x := range *s {
		if compareIDs(x.last, after) <= 0 || compareIDs(x.after, last) >= 0 {
			rest = append(rest, x)
			continue
		}
		if compareIDs(x.after, after) < 0 {
			rest = append(rest, idRange{x.after, after})
		}
		if compareIDs(x.last, last) > 0 {
			rest = append(rest, idRange{last, x.last})
		}
	}
	*s = rest
}

// add adds to s the IDs greater than the first given ID, up to and including the second.
func (s *idRanges) add(after, last domain.ID) {
	if compareIDs(after, last) >= 0 {
		return
	}
	var rest idRanges
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
	i, _ := slices.BinarySearchFunc(rest, after, func(x idRange, id domain.ID) int { return compareIDs(x.after, id) })
	*s = slices.Insert(rest, i, idRange{after, last})
}
