package diagnosis_test

import (
	"slices"
	"testing"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
)

func TestCatalogueHasEachCodeOnce(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, kind := range diagnosis.Catalogue() {
		if seen[kind.Code] || kind.Code == "" || len(kind.Levels) == 0 || kind.Look == "" {
			t.Errorf("%+v is there twice, or not whole", kind)
		}
		seen[kind.Code] = true
	}
}

// wantCatalogued fails the test if the catalogue lacks the code of a finding, or does not give it that level.
func wantCatalogued(t *testing.T, found []domain.Finding) {
	t.Helper()
	for _, f := range found {
		all := diagnosis.Catalogue()
		i := slices.IndexFunc(all, func(k diagnosis.Kind) bool { return k.Code == f.Code })
		if i < 0 || !slices.Contains(all[i].Levels, f.Level) {
			t.Errorf("%s/%s is not in the catalogue", f.Code, f.Level)
		}
	}
}
