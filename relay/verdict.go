package relay

import (
	"outboxd/domain"
	"outboxd/relay/pace"
)

// verdicts maps each answer of Redis to the verdict on the event.
var verdicts = [...]domain.Verdict{
	domain.Unanswered:   domain.Untried,
	domain.Accepted:     domain.Delivered,
	domain.AlreadyThere: domain.Delivered,
	domain.Duplicate:    domain.Suppressed,
	domain.Rejected:     domain.Refused,
	domain.Impossible:   domain.Dead,
}

// verdictOf returns the verdict for a receipt. verdictOf returns Untried for an answer that is not in verdicts.
func verdictOf(r domain.Receipt) domain.Verdict {
	if int(r.Answer) >= len(verdicts) {
		return domain.Untried
	}
	return verdicts[r.Answer]
}

// judge turns receipts into outcomes. An event without an answer does not change, because an outage charges no
// attempt. An event with an answer is settled even if Redis failed before it answered for the other events.
func (p *poller) judge(events []domain.Event, receipts []domain.Receipt) []domain.Outcome {
	outcomes := make([]domain.Outcome, len(events))
	for i, r := range receipts {
		o := domain.Outcome{Verdict: verdictOf(r), Holder: r.Holder}
		if attempts := events[i].Attempts + 1; o.Verdict == domain.Refused {
			o.Delay = pace.Backoff(p.o.BackoffBase, p.o.BackoffMax, attempts)
			if attempts >= p.o.MaxAttempts {
				o = domain.Outcome{Verdict: domain.Dead}
			}
		}
		if o.Verdict == domain.Refused || o.Verdict == domain.Dead {
			o.Err = r.Failure()
		}
		outcomes[i] = o
	}
	return outcomes
}
