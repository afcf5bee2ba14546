package domain_test

import (
	"errors"
	"testing"

	"outboxd/domain"
)

// An event whose receipt was not filled in does not count as delivered.
func TestReceiptsAreUnansweredUntilProvenOtherwise(t *testing.T) {
	t.Parallel()
	cause := errors.New("cause")
	for name, test := range map[string]struct {
		receipt  domain.Receipt
		received bool
		failure  domain.Code
	}{
		"zero":          {domain.Receipt{}, false, domain.CodeUnavailable},
		"unanswered":    {domain.Receipt{Err: cause}, false, domain.CodeUnavailable},
		"accepted":      {domain.Receipt{Answer: domain.Accepted}, true, ""},
		"already there": {domain.Receipt{Answer: domain.AlreadyThere}, true, ""},
		"duplicate":     {domain.Receipt{Answer: domain.Duplicate, Err: cause}, false, ""},
		"rejected":      {domain.Receipt{Answer: domain.Rejected, Err: cause}, false, domain.CodeInternal},
		"impossible":    {domain.Receipt{Answer: domain.Impossible, Err: cause}, false, domain.CodeInvalid},
		"unknown":       {domain.Receipt{Answer: 200}, false, domain.CodeUnavailable},
	} {
		failure := test.receipt.Failure()
		if test.receipt.Received() != test.received || domain.ErrorCode(failure) != test.failure {
			t.Errorf("%s: received %t, failure %v", name, test.receipt.Received(), failure)
		}
		if test.receipt.Err != nil && failure != nil && !errors.Is(failure, cause) {
			t.Errorf("%s: %v does not say why", name, failure)
		}
	}
}
