package chaos

import (
	"slices"
	"testing"
	"time"

	"outboxd/app/faulttest"
)

func TestAPlanFollowsFromItsSeed(t *testing.T) {
	t.Parallel()
	profile := General(time.Hour)
	take := func(seed uint64) (faults []Fault) {
		plan := NewPlan(profile, seed)
		for range 2000 {
			faults = append(faults, plan.Next())
		}
		return faults
	}
	faults := take(7)
	if !slices.Equal(faults, take(7)) {
		t.Error("the same seed gives another plan")
	}
	if slices.Equal(faults, take(8)) {
		t.Error("another seed gives the same plan")
	}
	kinds, lasts, places, last := map[Kind]int{}, map[time.Duration]int{}, map[faulttest.Position]int{}, time.Duration(0)
	for _, f := range faults {
		if f.At <= last {
			t.Errorf("a fault at %v after one at %v", f.At, last)
		}
		last = f.At
		kinds[f.Kind]++
		lasts[f.Lasts]++
		places[f.Where]++
	}
	if len(kinds) != len(profile.Odds)+len(profile.Losses) || len(lasts) != len(profile.Lasts) || len(places) != 3 {
		t.Errorf("of %d kinds, %d durations and 3 positions there are %v, %v and %v", len(profile.Odds)+len(profile.Losses), len(profile.Lasts), kinds, lasts, places)
	}
	if gap := last / time.Duration(len(faults)); gap < profile.Gap*8/10 || gap > profile.Gap*12/10 {
		t.Errorf("faults come every %v, want %v", gap, profile.Gap)
	}
}

func TestAProfileCanBeNarrowed(t *testing.T) {
	t.Parallel()
	plan := NewPlan(General(time.Hour).Only("flushed", "password"), 1)
	kinds := map[Kind]int{}
	for range 100 {
		kinds[plan.Next().Kind]++
	}
	if len(kinds) != 2 || kinds[FlushRedis] != 20 || kinds[RotatePassword] != 80 {
		t.Errorf("of every fifth fault a loss and else rotated passwords: %v", kinds)
	}
}

func TestAProfileCanBeNarrowedToLosses(t *testing.T) {
	t.Parallel()
	plan := NewPlan(General(time.Hour).Only("flushed"), 1)
	for range 10 {
		if f := plan.Next(); f.Kind != FlushRedis {
			t.Errorf("a fault %q, want losses only", f.Kind)
		}
	}
}

func TestPausesFitTheRun(t *testing.T) {
	t.Parallel()
	if longest := slices.Max(General(10 * time.Minute).Lasts); longest < time.Minute {
		t.Errorf("the longest pause of a long run is %v, which is shorter than a database session's timeout", longest)
	}
	if longest := slices.Max(General(10 * time.Second).Lasts); longest > 5*time.Second {
		t.Errorf("a pause of a run of 10 seconds may take %v", longest)
	}
}

func TestOnlyALongRunSuspendsARelay(t *testing.T) {
	t.Parallel()
	for length, want := range map[time.Duration]bool{time.Minute: false, 3 * time.Minute: true} {
		plan, suspended := NewPlan(General(length), 1), false
		for range 1000 {
			f := plan.Next()
			if f.Kind != Suspend {
				continue
			}
			suspended = true
			if f.Lasts <= time.Minute {
				t.Errorf("a relay is suspended for %v, after which PostgreSQL has not given it up", f.Lasts)
			}
		}
		if suspended != want {
			t.Errorf("a run of %v suspends a relay: %v, want %v", length, suspended, want)
		}
	}
}
