package setup

import (
	"fmt"
	"regexp"
	"strings"

	"outboxd/domain"
)

// Applied is the result of applying one subscription or schedule: whether it
// was created, changed or left as it was.
type Applied string

// The results of applying.
const (
	AppliedAdded     Applied = "added"
	AppliedChanged   Applied = "changed"
	AppliedUnchanged Applied = "unchanged"
)

const longestName = 63

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`)

// faults collects what is wrong with a subscription or a schedule.
type faults []domain.FieldError

func (f *faults) add(field, format string, args ...any) {
	*f = append(*f, domain.FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
}

func (f *faults) checkName(name string) {
	if !nameForm.MatchString(name) || len(name) > longestName {
		f.add("name", "must have 1 to %d lower-case letters, digits, '.', '_' and '-', and begin with a letter or digit", longestName)
	}
}

// err returns an error that has all faults, or nil if there are none.
func (f *faults) err(kind, name string) error {
	if len(*f) == 0 {
		return nil
	}
	texts := make([]string, len(*f))
	for i, fault := range *f {
		texts[i] = fault.Field + " " + fault.Message
	}
	return &domain.Error{Code: domain.CodeInvalid, Message: fmt.Sprintf("%s %.60q: %s", kind, name, strings.Join(texts, "; ")), Fields: *f}
}
