// Package diagnosistest checks findings in tests.
package diagnosistest

import (
	"slices"
	"testing"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
)

// WantCatalogued fails the test if the catalogue lacks the code of a finding, or does not give it that level.
func WantCatalogued(t *testing.T, found []domain.Finding) {
	t.Helper()
	for _, f := range found {
		all := diagnosis.Catalogue()
		i := slices.IndexFunc(all, func(k diagnosis.Kind) bool { return k.Code == f.Code })
		if i < 0 || !slices.Contains(all[i].Levels, f.Level) {
			t.Errorf("%s/%s is not in the catalogue", f.Code, f.Level)
		}
	}
}
