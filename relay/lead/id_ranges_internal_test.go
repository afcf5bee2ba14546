package lead

import (
	"math/rand/v2"
	"testing"

	"outboxd/domain"
)

// After any additions and removals, the gaps are exactly the numbers that are
// not in a range.
func TestIDRangesKnowTheirGaps(t *testing.T) {
	t.Parallel()
	const ids = 60
	id := func(n int) domain.ID { return domain.ID{15: byte(n)} }
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		var s idRanges
		var in [ids]bool // in[n]: event n is in a range
		for range 30 {
			after := random.IntN(ids - 1)
			last := after + random.IntN(ids-after)
			put := random.IntN(3) > 0
			if put {
				s.add(id(after), id(last))
			} else {
				s.remove(id(after), id(last))
			}
			for n := after + 1; n <= last; n++ {
				in[n] = put
			}
		}
		for after := range ids {
			begin, end := s.gap(id(after))
			want := after
			for want+1 < ids && in[want+1] {
				want++
			}
			if begin != id(want) {
				t.Fatalf("seed %d: the gap from %d on begins after %v, want %d", seed, after, begin[15], want)
			}
			last := want
			for last+1 < ids && !in[last+1] {
				last++
			}
			if last == ids-1 && end == domain.LastID() {
				continue
			}
			if end != id(last) {
				t.Fatalf("seed %d: the gap from %d on ends with %v, want %d", seed, after, end[15], last)
			}
		}
	}
}
