package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Limits of one queue.
const (
	maxWeight    = 1000 // asynq keeps a list as long as the sum of all weights
	maxQueueName = 128  // bytes
)

// Queues are the queues that a worker serves, each with its weight: of two
// that both hold tasks, the one with twice the weight is looked at first twice
// as often.
type Queues map[string]int

// String returns what UnmarshalText reads, the heaviest queue first.
func (q Queues) String() string {
	names := slices.SortedFunc(maps.Keys(q), func(a, b string) int {
		return cmp.Or(cmp.Compare(q[b], q[a]), cmp.Compare(a, b))
	})
	for i, name := range names {
		names[i] = name + "=" + strconv.Itoa(q[name])
	}
	return strings.Join(names, ",")
}

// MarshalText returns String.
func (q Queues) MarshalText() ([]byte, error) { return []byte(q.String()), nil }

// UnmarshalText reads a list such as "critical=6,default=3". A weight is a
// whole number from 1 to 1000.
func (q *Queues) UnmarshalText(text []byte) error {
	queues := Queues{}
	for _, entry := range splitList(string(text)) {
		name, weight, found := strings.Cut(entry, "=")
		name, weight = strings.TrimSpace(name), strings.TrimSpace(weight)
		if !found {
			return fmt.Errorf("%s has no weight: write it as name=weight, such as default=3", quote(entry))
		}
		if err := checkQueueName(name); err != nil {
			return err
		}
		n, err := strconv.Atoi(weight)
		if err != nil || n < 1 || n > maxWeight {
			return fmt.Errorf("the weight of queue %s is %s: give a whole number from 1 to %d", quote(name), quote(weight), maxWeight)
		}
		if _, twice := queues[name]; twice {
			return fmt.Errorf("queue %s is listed twice: keep one of them", quote(name))
		}
		queues[name] = n
	}
	if len(queues) == 0 {
		return errors.New("no queue is listed: give at least one, such as default=1")
	}
	*q = queues
	return nil
}

// checkQueueName refuses names that the list cannot hold, or that would end
// the hash tag in asynq's Redis keys.
func checkQueueName(name string) error {
	if name == "" {
		return errors.New("a queue has no name: write it as name=weight, such as default=3")
	}
	if len(name) > maxQueueName {
		return fmt.Errorf("the queue name %s is longer than %d bytes", quote(name), maxQueueName)
	}
	if strings.ContainsAny(name, "{}=,") || strings.ContainsFunc(name, unicode.IsSpace) || !isText(name) {
		return fmt.Errorf("the queue name %s has a character that is not allowed: avoid spaces, commas, equals signs and braces", quote(name))
	}
	return nil
}
