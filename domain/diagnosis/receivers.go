package diagnosis

import (
	"fmt"
	"strings"

	"outboxd/domain"
	"outboxd/domain/overview"
	"outboxd/domain/setup"
	"outboxd/domain/words"
)

// receiversNamed bounds the receivers that one finding lists.
const receiversNamed = 5

// receiversDown returns a finding about the receivers that workers have reported as down.
func receiversDown(s overview.Standing) []domain.Finding {
	var down []string
	var last string
	for _, r := range s.Receivers {
		if r.Down != nil && !r.Paused && !r.Removed {
			down = append(down, fmt.Sprintf("%s for %s", r.Subscription, words.Duration(s.At.Sub(r.Down.Since))))
			last = r.Down.Reason
		}
	}
	return ReceiversDown(down, last)
}

// resting returns the queues of subscriptions that are paused or removed. It is no problem
// if no worker takes the tasks of such a queue.
func resting(receivers []overview.ReceiverStatus) map[string]bool {
	queues := map[string]bool{}
	for _, r := range receivers {
		if r.Paused || r.Removed {
			queues[setup.SubscriptionQueuePrefix+r.Subscription] = true
		}
	}
	return queues
}

// ReceiversDown returns the finding about receivers that are down. The argument down has one text for each receiver:
// its subscription's name, and how long it has been down. The argument last is the error of the last attempt.
func ReceiversDown(down []string, last string) []domain.Finding {
	if len(down) == 0 {
		return nil
	}
	names := strings.Join(down[:min(len(down), receiversNamed)], ", ")
	if more := len(down) - receiversNamed; more > 0 {
		names += fmt.Sprintf(" and %s more", words.Count(more))
	}
	return Of("receiver-down", "the receivers of these subscriptions are down: "+names+"; the last attempt: "+last,
		"their deliveries wait, and an attempt without an answer, or with 407, 429, 502, 503 or 504, is not charged; other deliveries go on",
		"mend the receiver, and they go on by themselves; outboxd subscriptions pause NAME stops the attempts")
}
