package app_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
)

// TestCommandsPrintNothingThatATerminalObeys shows an event in which all texts are
// hostile.
func TestCommandsPrintNothingThatATerminalObeys(t *testing.T) {
	t.Parallel()
	const hostile = "\x1b[2J\x1b]0;title\a\r\nFORGED\u009b31m\u202e"
	servers := on(servertest.Database(t), servertest.Redis(t), t.TempDir())
	p := start(t, append(servers, "--roles=relay", "--relay-max-attempts=1")...)
	db := schematest.Connect(t, strings.TrimPrefix(servers[0], "--database-url=")).SQL()
	for _, kind := range []string{"email:send_notification", hostile} {
		_, err := db.ExecContext(t.Context(), `INSERT INTO outbox_dead (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, stage, error, ordering_key)
			VALUES (outbox_new_id(), $1::text, convert_to($2::text, 'UTF8'), jsonb_build_object($2::text, $2::text), $2::text, now(), 1, 0, now(), 'worker', $2::text, $2::text)`, kind, hostile)
		if err != nil {
			t.Fatal(err)
		}
	}
	var list deadList
	r := execute(t, nil, append([]string{"dead", "list", "-o=json"}, servers...)...)
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil || len(list.DeadLetters) != 2 {
		t.Fatalf("%v: %s%s", err, r.stdout, r.stderr)
	}
	commands := [][]string{{"dead", "list"}, {"dead", "list", "-o=yaml"}, {"verify"}, {"dead", "replay", "--all"}}
	for _, d := range list.DeadLetters {
		commands = append(commands, []string{"dead", "show", d.ID}, []string{"events", "show", d.ID}, []string{"events", "show", d.ID, "-o=yaml"})
	}
	for _, args := range commands {
		r := execute(t, nil, append(args, servers...)...)
		for _, text := range []string{r.stdout, r.stderr} {
			if at := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); at >= 0 {
				t.Errorf("%v printed %q", args, text[max(0, at-40):min(len(text), at+40)])
			}
			if strings.Contains(text, "\nFORGED") {
				t.Errorf("%v printed a forged line", args)
			}
		}
	}
	p.stop()
}
