package plan

import (
	"encoding/json"
	"fmt"
	"io"
)

// Read reads the costs of a plan that was written as JSON.
func Read(r io.Reader) (Measured, error) {
	var earlier struct{ Measured Measured }
	if err := json.NewDecoder(r).Decode(&earlier); err != nil {
		return Measured{}, fmt.Errorf("read an earlier plan: %w", err)
	}
	if len(earlier.Measured.Lines) == 0 {
		return Measured{}, fmt.Errorf("read an earlier plan: %w", errNoCosts)
	}
	if err := earlier.Measured.Lines.Check(); err != nil {
		return Measured{}, fmt.Errorf("read an earlier plan: %w", err)
	}
	return earlier.Measured, nil
}

// Complete takes each cost that is 0 in l from the given Lines: such a cost could not be
// measured. Complete returns a note for each of these costs.
func (l Lines) Complete(other Lines) (notes []string) {
	for _, cost := range All() {
		if l[cost] == (Line{}) {
			l[cost] = other[cost]
			notes = append(notes, fmt.Sprintf("%s cannot be measured here, so a recorded figure of another machine is used", cost))
		}
	}
	return notes
}
