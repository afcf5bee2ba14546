package deadletters_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/repository/deadletters"
)

// Each value that is found chooses as many dead letters as were counted.
func TestValuesOfAPayloadField(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	letters := deadletters.New(db)
	long := strings.Repeat("ä", 250)
	for i, payload := range []string{
		`{"carrier": "dhl", "n": 1}`, `{"carrier": "dhl", "order": {"to": "ada"}}`, `{"carrier": "\u0064hl"}`, `{"carrier": "ups", "order": {"to": "bob"}}`, `{"carrier": "ups"}`,
		`{"carrier": null}`, `{"n": 2}`, `no JSON, carrier`, `{"carrier": {"name": "dhl"}}`, `{"carrier": ["dhl"]}`, `{"carrier": "[dhl]"}`, `{"carrier": ""}`, `{"carrier": 7e1}`, `{"carrier": true}`,
		`{"carrier": "` + long + `1"}`, `{"carrier": "` + long + `2"}`,
	} {
		exec(t, db, `INSERT INTO outbox_dead (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, stage, error, died_at)
			VALUES (outbox_new_id(), 'a', $1, '{}', 'default', now(), 1, 0, now(), 'worker', $2, now() - $3 * interval '1 minute')`, []byte(payload), fmt.Sprint("error ", i%2), i)
	}
	for _, c := range []struct{ field, want string }{
		{"carrier", `dhl 3, no value 3, ups 2, an object or a list 2, ` + long[:400] + `* 2, [dhl] 1,  1, 70 1, true 1`},
		{"order.to", `no value 14, ada 1, bob 1`},
		{"order", `no value 14, an object or a list 2`},
		{"none", `no value 16`},
	} {
		path, err := domain.ParseFieldPath(c.field)
		if err != nil {
			t.Fatal(err)
		}
		values, err := letters.Values(t.Context(), domain.DeadFilter{}, path, 20)
		var got []string
		for _, v := range values.Largest {
			got = append(got, fmt.Sprintf("%s%s %d", v.Value, v.Kind, v.Count))
			text, out := v.Condition(c.field)
			if text == "" {
				continue
			}
			condition, err := domain.ParsePayloadField(text)
			filter := domain.DeadFilter{Payload: condition}
			if out {
				filter = domain.DeadFilter{NotFields: []domain.PayloadField{condition}}
			}
			if n, counted := letters.Count(t.Context(), filter, 0, 0); err != nil || counted != nil || int(n.Matched) != v.Count {
				t.Errorf("%q chooses %d, and %d were found: %v, %v", text, n.Matched, v.Count, err, counted)
			}
		}
		want := strings.Split(strings.Replace(c.want, "70 1", "7e1 1", 1), ", ")
		slices.Sort(want)
		slices.Sort(got)
		if err != nil || !slices.Equal(got, want) || values.Distinct != len(want) || values.Looked != 16 || values.More {
			t.Errorf("%s: %q, %+v, %v, want %q", c.field, got, values, err, want)
		}
		if none := c.field == "none"; values.None() != none {
			t.Errorf("%s: no payload has it: %t", c.field, !none)
		}
	}
	// The filter applies, and the number of dead letters that are read is bounded.
	values, err := letters.Values(t.Context(), domain.DeadFilter{Error: "error 0"}, []string{"n"}, 100)
	if err != nil || values.Looked != 8 || values.More {
		t.Errorf("of one error: %+v, %v", values, err)
	}
	values, err = letters.Values(t.Context(), domain.DeadFilter{}, []string{"carrier"}, 3)
	if err != nil || values.Looked != 3 || !values.More || len(values.Largest) != 1 || values.Largest[0].Value != "dhl" {
		t.Errorf("of the latest three: %+v, %v", values, err)
	}
	fields, err := letters.Fields(t.Context(), domain.DeadFilter{Error: "error 1"})
	if got := strings.Join(fields, " "); err != nil || got != "carrier order.to" {
		t.Errorf("the fields are %q, %v", got, err)
	}
}

// Payloads beyond the size that one statement reads are not read.
func TestValuesOfLargePayloadsAreBounded(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	exec(t, db, `INSERT INTO outbox_dead (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, stage, error, died_at)
		SELECT outbox_new_id(), 'a', convert_to('{"a": "' || repeat('x', 1000000) || '", "carrier": "dhl"}', 'UTF8'), '{}', 'default', now(), 1, 0, now(), 'worker', 'no', now() - n * interval '1 second'
		FROM generate_series(1, 20) n`)
	values, err := deadletters.New(db).Values(t.Context(), domain.DeadFilter{}, []string{"carrier"}, 100)
	if err != nil || values.Looked != 17 || !values.More || values.Largest[0].Count != 17 {
		t.Errorf("%+v, %v, want the latest 17", values, err)
	}
}
