package diagnosis_test

import (
	"testing"

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
