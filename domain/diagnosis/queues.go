package diagnosis

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"outboxd/domain"
	"outboxd/domain/setup"
	"outboxd/domain/words"
)

// typesNamed is how many types or queues a finding lists. The finding only counts the others.
const typesNamed = 5

// Some writes a list for a finding: the first few entries, and the number of the others.
func Some(list []string, others string) string {
	if more := len(list) - typesNamed; more > 0 {
		list = append(slices.Clone(list[:typesNamed]), words.Many(more, others))
	}
	return strings.Join(list, ", ")
}

// ForbiddenQueues returns the finding for queues whose keys outboxd's Redis user may not use.
func ForbiddenQueues(queues []string) []domain.Finding {
	if len(queues) == 0 {
		return nil
	}
	names := make([]string, len(queues))
	for i, queue := range queues {
		names[i] = fmt.Sprintf("%.100q", queue)
	}
	return Of("redis-queue-rights", "Redis does not let its user use the keys of "+Some(names, "other queue"),
		"the events of these queues wait in the outbox, and no attempt is charged to them; other queues go on",
		"redis-cli ACL SETUSER NAME '~asynq:*' gives what outboxd and Asynq need; ACL LOG names what was refused")
}

// PausedQueues returns the finding for paused queues.
func PausedQueues(names []string) []domain.Finding {
	if len(names) == 0 {
		return nil
	}
	return Of(CodePaused, words.Plural(len(names), "queue ", "queues ")+strings.Join(names, ", ")+words.Plural(len(names), " is", " are")+" paused",
		words.Plural(len(names), "its tasks wait until it is resumed", "their tasks wait until they are resumed"),
		"outboxd queues resume NAME, or the page Queues, lets a queue go on; outboxd queues show NAME says who paused it, and why; outboxd events emit TYPE --queue OTHER tries a mended handler before that, with one event in another queue")
}

// LostPause is a queue whose pause is on record and that is not paused.
type LostPause struct {
	Queue string
	setup.Pause
}

// judgeLostPauses names who paused the queues, because that person has to decide what comes next.
func judgeLostPauses(lost []LostPause) []domain.Finding {
	if len(lost) == 0 {
		return nil
	}
	said := make([]string, len(lost))
	for n, l := range lost {
		said[n] = fmt.Sprintf("%s, which %s paused at %s", l.Queue, l.By, l.Since.UTC().Format(time.DateTime+" UTC"))
		if l.Reason != "" {
			said[n] += " (" + l.Reason + ")"
		}
	}
	return Of("queue-pause-lost", "Redis has no pause any more of queue "+Some(said, "other queue"),
		"workers take the tasks of "+words.Plural(len(said), "this queue", "these queues")+": Redis lost the pause, or somebody resumed the queue without outboxd",
		"outboxd queues pause NAME --yes pauses it again, for the same reason; then look what workers did meanwhile (docs/guides/outages.md). Or outboxd queues resume NAME --yes records that it may go on")
}
