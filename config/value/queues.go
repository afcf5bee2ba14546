package value

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"outboxd/config/words"
)

// Limits of one queue.
const (
	maxWeight    = 1000 // asynq keeps a list as long as the sum of all weights
	maxQueueName = 128  // bytes
)

// SubscriptionQueuePrefix is the beginning of the queue of a subscription. If a worker
// served such a queue as its own, it would take a delivery for the event itself.
const SubscriptionQueuePrefix = "subscription:"

// Queues are the queues that a worker serves, each with its weight. If queue A has twice
// the weight of queue B, Asynq looks first at A twice as often as at B.
type Queues map[string]int

// String returns the text that UnmarshalText reads, the queue with the largest weight
// first.
func (q Queues) String() string { return formatQueues(q) }

// MarshalText returns String.
func (q Queues) MarshalText() ([]byte, error) { return []byte(q.String()), nil }

// UnmarshalText reads a list such as "critical=6,default=3". A weight is a
// whole number from 1 to 1000.
func (q *Queues) UnmarshalText(text []byte) error {
	queues, err := parseQueues(string(text), "weight", 3, maxWeight)
	if err == nil && len(queues) == 0 {
		err = errors.New("no queue is listed: give at least one, such as default=1")
	}
	for name := range queues {
		if strings.HasPrefix(name, SubscriptionQueuePrefix) {
			return fmt.Errorf("queue %s has the deliveries of a subscription, which every worker sends: leave it out", words.Quote(name))
		}
	}
	if err == nil {
		*q = queues
	}
	return err
}

// Bounds has, by queue, the largest number of tasks that the queue may hold. A queue
// without an entry has no bound.
type Bounds map[string]int

// maxBound is more tasks than a Redis holds in practice.
const maxBound = 1_000_000_000

// String returns the text that UnmarshalText reads, the largest bound first.
func (b Bounds) String() string { return formatQueues(b) }

// MarshalText returns String.
func (b Bounds) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads a list such as "default=100000,low=1000". A bound is a
// whole number from 1 to 1000000000.
func (b *Bounds) UnmarshalText(text []byte) error {
	bounds, err := parseQueues(string(text), "bound", 100_000, maxBound)
	if err == nil {
		*b = bounds
	}
	return err
}

func formatQueues(queues map[string]int) string {
	names := slices.SortedFunc(maps.Keys(queues), func(a, b string) int {
		return cmp.Or(cmp.Compare(queues[b], queues[a]), cmp.Compare(a, b))
	})
	for i, name := range names {
		names[i] = name + "=" + strconv.Itoa(queues[name])
	}
	return strings.Join(names, ",")
}

// parseQueues reads a list of queues, each with a number. Error messages use the word
// noun for the number, and show example as a valid number.
func parseQueues(text, noun string, example, most int) (map[string]int, error) {
	queues := map[string]int{}
	for _, entry := range words.List(text) {
		name, number, found := strings.Cut(entry, "=")
		name, number = strings.TrimSpace(name), strings.TrimSpace(number)
		if !found {
			return nil, fmt.Errorf("%s has no %s: write it as name=%s, such as default=%d", words.Quote(entry), noun, noun, example)
		}
		if err := checkQueueName(name); err != nil {
			return nil, err
		}
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 || n > most {
			return nil, fmt.Errorf("the %s of queue %s is %s: give a whole number from 1 to %d", noun, words.Quote(name), words.Quote(number), most)
		}
		if _, twice := queues[name]; twice {
			return nil, fmt.Errorf("queue %s is listed twice: keep one of them", words.Quote(name))
		}
		queues[name] = n
	}
	return queues, nil
}

// checkQueueName refuses a name that cannot be written in the list, and a name with a
// brace: in asynq's Redis keys the queue's name stands in braces, as the hash tag.
func checkQueueName(name string) error {
	if name == "" {
		return errors.New("a queue has no name: write it as name=number, such as default=3")
	}
	if len(name) > maxQueueName {
		return fmt.Errorf("the queue name %s is longer than %d bytes", words.Quote(name), maxQueueName)
	}
	if strings.ContainsAny(name, "{}=,") || strings.ContainsFunc(name, unicode.IsSpace) || !words.IsPlain(name) {
		return fmt.Errorf("the queue name %s has a character that is not allowed: avoid spaces, commas, equals signs and braces", words.Quote(name))
	}
	return nil
}
