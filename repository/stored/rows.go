package stored

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"outboxd/domain"
)

// Rows are events as arrays for Unnest.
type Rows struct {
	IDs                                  [][16]byte
	types, headers, queues               []string
	payloads                             [][]byte
	maxRetry, timeout, retention, unique []*int64
	deadlines                            []*time.Time
	available, created                   []time.Time
	attempts, generations                []int
	lastErrors, keys                     []*string
	positions                            []*int64
	origins                              []pgtype.UUID
	subscriptions, splits                []*string
}

// Add appends an event.
func (r *Rows) Add(e *domain.Event) {
	headers, err := Headers(e.Headers)
	if err != nil {
		headers = "{}" // encoding a map of strings cannot fail
	}
	var lastError *string
	if e.LastError != "" {
		lastError = &e.LastError
	}
	r.IDs = append(r.IDs, e.ID)
	r.types, r.headers, r.queues = append(r.types, e.Type), append(r.headers, headers), append(r.queues, e.Queue)
	payload := e.Payload
	if payload == nil { // as in an event that was read from a task without a payload
		payload = []byte{}
	}
	r.payloads = append(r.payloads, payload)
	r.maxRetry = append(r.maxRetry, count(e.Options.MaxRetry))
	r.timeout, r.retention, r.unique = append(r.timeout, Seconds(e.Options.Timeout)), append(r.retention, Seconds(e.Options.Retention)), append(r.unique, Seconds(e.Options.Unique))
	r.deadlines = append(r.deadlines, TimeOrNull(e.Options.Deadline))
	r.available, r.created = append(r.available, e.Available), append(r.created, e.CreatedAt)
	r.attempts, r.generations = append(r.attempts, e.Attempts), append(r.generations, e.Generation)
	r.lastErrors = append(r.lastErrors, lastError)
	var key *string
	var position *int64
	if e.OrderingKey != "" {
		key, position = &e.OrderingKey, &e.Position
	}
	r.keys, r.positions = append(r.keys, key), append(r.positions, position)
	// origin is a pgtype.UUID, because pgx knows the type of a slice of these without asking
	// the server, unlike that of []*[16]byte.
	var origin pgtype.UUID
	var subscription, split *string
	if e.Subscription != "" {
		origin, subscription = pgtype.UUID{Bytes: e.Origin, Valid: true}, &e.Subscription
	}
	if e.Split != "" {
		split = (*string)(&e.Split)
	}
	r.origins, r.subscriptions, r.splits = append(r.origins, origin), append(r.subscriptions, subscription), append(r.splits, split)
}

// Args returns the parameters of Unnest.
func (r *Rows) Args() []any {
	list := make([]any, len(columns))
	for i, c := range columns {
		list[i] = c.array(r)
	}
	return list
}

func count(n *int) *int64 {
	if n == nil {
		return nil
	}
	return new(int64(*n))
}

// Headers encodes headers in the form in which the database stores them: a JSON object.
func Headers(headers map[string]string) (string, error) {
	if len(headers) == 0 {
		return "{}", nil
	}
	text, err := json.Marshal(headers)
	if err != nil {
		return "", fmt.Errorf("encode the event's headers: %w", err)
	}
	return string(text), nil
}

// Seconds returns a duration rounded up to whole seconds, or nil if the duration is 0 or
// negative.
func Seconds(d time.Duration) *int64 {
	if d <= 0 {
		return nil
	}
	s := int64((d + time.Second - 1) / time.Second)
	return &s
}

// TimeOrNull returns a pointer to t, or nil if t is zero. The database stores nil as
// NULL.
func TimeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
