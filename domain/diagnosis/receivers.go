package diagnosis

import (
	"fmt"
	"strings"

	"outboxd/domain"
	"outboxd/domain/words"
)

// receiversNamed bounds the receivers that one finding names.
const receiversNamed = 5

// ReceiversDown returns the finding of a process that delivers to receivers that are
// down. down names each with how long it has been down; last is the error of the
// last attempt.
func ReceiversDown(down []string, last string) []domain.Finding {
	if len(down) == 0 {
		return nil
	}
	names := strings.Join(down[:min(len(down), receiversNamed)], ", ")
	if more := len(down) - receiversNamed; more > 0 {
		names += fmt.Sprintf(" and %s more", words.Count(more))
	}
	return of("receiver-down", "the receivers of these subscriptions are down: "+names+"; the last attempt: "+last,
		"their deliveries wait and are charged no attempt; others go on",
		"mend the receiver, and they go on by themselves; outboxd subscriptions pause NAME stops the attempts")
}
