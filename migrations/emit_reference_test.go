package migrations_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"outboxd/app/schematest"
)

// The reference of emit names every argument and every constraint that a producer
// can break. Its examples work.
func TestEmitExamples(t *testing.T) {
	t.Parallel()
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	reference, baseline := read("../docs/reference/emit.md"), read("00001_outbox.sql")
	_, signature, _ := strings.Cut(baseline, "\nCREATE FUNCTION emit(\n")
	signature, _, _ = strings.Cut(signature, "\n)")
	arguments := regexp.MustCompile(`(?m)^ +(\w+) +(\w+)`).FindAllStringSubmatch(signature, -1)
	for _, argument := range arguments {
		if !strings.Contains(reference, "| `"+argument[1]+"` | `"+argument[2]+"` |") {
			t.Errorf("the reference has no argument %s of the type %s", argument[1], argument[2])
		}
	}
	bounds := regexp.MustCompile(`THEN '(\w+)'`).FindAllStringSubmatch(baseline, -1)
	if len(arguments) < 12 || len(bounds) < 20 {
		t.Fatalf("%d arguments and %d bounds in the schema", len(arguments), len(bounds))
	}
	// These are bounds of columns that a producer does not write.
	others := regexp.MustCompile(`^(attempts|generation|last_error|created_at|delivery|ordering_key_has_a_position|ordering_position)`)
	for _, bound := range bounds {
		if !others.MatchString(bound[1]) && !strings.Contains(reference, "`outbox_"+bound[1]+"`") {
			t.Errorf("the reference does not name the constraint outbox_%s", bound[1])
		}
	}
	db := schematest.Open(t).SQL()
	examples := regexp.MustCompile("(?s)```sql[^\n]*\n(.*?)```").FindAllStringSubmatch(reference, -1)
	for _, example := range examples {
		exec(t, db, example[1])
	}
	if n := count(t, db, "SELECT count(*) FROM outbox"); n != 1003 {
		t.Errorf("the examples emit %d events, want 1003", n)
	}
}
