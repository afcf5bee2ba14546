package chaos

import (
	"maps"
	"testing"

	"outboxd/domain"
)

func TestVerdict(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		trace trace
		want  string // "" for none
	}{
		{"took effect", trace{committed: 1, told: 1, processed: 1, effects: 1}, ""},
		{"waits in Redis", trace{committed: 1, told: 1, queued: 1}, ""},
		{"nobody was told", trace{committed: 1, processed: 1, effects: 1}, ""},
		{"rolled back", trace{undone: 1}, ""},
		{"took effect and is in Redis again", trace{committed: 1, processed: 1, effects: 1, queued: 1}, ""},
		{"was cancelled", trace{committed: 1, told: 1, cancelled: true, processed: 1}, ""},
		{"was cancelled, and its task is in Redis", trace{committed: 1, cancelled: true, processed: 1, queued: 1}, ""},
		{"was cancelled and took effect", trace{committed: 1, cancelled: true, processed: 1, effects: 1}, both},
		{"was cancelled and has a row left", trace{committed: 1, cancelled: true, processed: 1, waiting: 1}, left},
		{"is delivered", trace{committed: 1, delivery: true, processed: 1, effects: 1}, ""},
		{"is nowhere", trace{committed: 1, told: 1}, lost},
		{"has a row left", trace{committed: 1, waiting: 1}, left},
		{"took effect and has a row left", trace{committed: 1, processed: 1, effects: 1, waiting: 1}, left},
		{"took effect twice", trace{committed: 1, processed: 1, effects: 2}, doubled},
		{"is in Redis twice", trace{committed: 1, queued: 2}, doubled},
		{"was rolled back and took effect", trace{undone: 1, processed: 1, effects: 1}, phantom},
		{"was rolled back and is in Redis", trace{undone: 1, queued: 1}, phantom},
		{"was acknowledged and not committed", trace{told: 1}, forgotten},
		{"is dead", trace{committed: 1, dead: 1}, given},
		{"is dead after its effect", trace{committed: 1, dead: 1, processed: 1, effects: 1}, given},
		{"is in the inbox without effect", trace{committed: 1, processed: 1}, torn},
		{"took effect and is not in the inbox", trace{committed: 1, effects: 1}, torn},
		{"took another's effect", trace{committed: 1, processed: 1, effects: 1, garbled: true}, garbled},
	} {
		want := map[string]int{}
		if c.want != "" {
			want[c.want] = 1
		}
		v := judge(traces{domain.ID{1}: &c.trace}, nil)
		if !maps.Equal(v.Violations, want) || v.OK() != (c.want == "") {
			t.Errorf("an event that %s: violations %v, want %v", c.name, v.Violations, want)
		}
	}
}

func TestVerdictOnOrder(t *testing.T) {
	t.Parallel()
	in := func(ordered bool) (sequences []position) {
		for i, seen := range []int64{0, 2, 1, 3} {
			sequences = append(sequences, position{domain.ID{byte(i)}, ordered, int64(i), seen})
		}
		return sequences
	}
	if v := judge(nil, in(true)); v.Violations[disorder] != 2 || v.Ordered != 4 || v.OK() {
		t.Errorf("%d of %d events out of order, want 2 of 4", v.Violations[disorder], v.Ordered)
	}
	if v := judge(nil, in(false)); v.Overtaken != 2 || v.Ordered != 0 || !v.OK() {
		t.Errorf("%d events overtaken, want 2, and nothing broken: %v", v.Overtaken, v)
	}
}
