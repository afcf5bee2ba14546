package app_test

import (
	"encoding/json"
	"html"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/app/schematest"
	"outboxd/app/servertest/redistest"
)

var (
	listed = regexp.MustCompile(`<li class="[a-z]+" data-code="([^"]+)" data-level="([^"]+)"><details class="finding" open><summary><strong>([^<]+)</strong>`)
	digits = regexp.MustCompile(`[0-9][0-9,.]*( (ms|s|min|h|d)\b)*`)
)

// spoken is the text of a finding, with # in place of the numbers that change between
// two looks.
func spoken(code, level, found string) string {
	return code + "/" + level + ": " + digits.ReplaceAllString(html.UnescapeString(found), "#")
}

// TestEverybodySaysTheSame breaks a system in several ways, and asks doctor, top, /readyz and the overview.
func TestEverybodySaysTheSame(t *testing.T) {
	t.Parallel()
	databaseURL, server := schematest.Database(t), redistest.Start(t)
	servers := on(databaseURL, server.URL(), t.TempDir())
	p := start(t, append([]string{"--roles=monitor"}, servers...)...) // no relay, and no worker
	client := openRedis(t, server.URL())
	for _, command := range [][]any{{"CONFIG", "SET", "maxmemory", "1gb"}, {"CONFIG", "SET", "maxmemory-policy", "allkeys-lru"}} {
		if err := client.Do(t.Context(), command...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	db := schematest.Connect(t, databaseURL).SQL()
	emitted := func(queue string) (id string) {
		t.Helper()
		if err := db.QueryRowContext(t.Context(), `INSERT INTO outbox (event_type, payload, queue, available_at) VALUES ('t', '', $1, now() - interval '1 hour') RETURNING id`, queue).Scan(&id); err != nil {
			t.Fatal(err)
		}
		return id
	}
	tasks := asynq.NewClientFromRedisClient(client)
	for _, queue := range []string{"unserved", "failing"} {
		id := emitted(queue)
		if _, err := tasks.EnqueueContext(t.Context(), asynq.NewTask("t", nil), asynq.TaskID(id), asynq.Queue(queue)); err != nil {
			t.Fatal(err)
		}
		keys := "asynq:{" + queue + "}:"
		_, err := client.TxPipelined(t.Context(), func(pipe redis.Pipeliner) error {
			if queue == "failing" { // as Asynq does when a handler failed
				pipe.LRem(t.Context(), keys+"pending", 1, id)
				pipe.ZAdd(t.Context(), keys+"retry", redis.Z{Score: float64(time.Now().Add(time.Hour).Unix()), Member: id})
				pipe.HSet(t.Context(), keys+"t:"+id, "state", "retry")
			} else {
				pipe.HSet(t.Context(), keys+"t:"+id, "pending_since", time.Now().Add(-time.Hour).UnixNano())
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}

	type findings struct {
		Headline string
		Findings []struct{ Code, Level, Found string }
	}
	command := func(args ...string) []string {
		t.Helper()
		var f findings
		r := execute(t, nil, append(append(args, "-o=json"), servers...)...)
		if err := json.Unmarshal([]byte(r.stdout), &f); err != nil {
			t.Fatalf("%s%s: %v", r.stdout, r.stderr, err)
		}
		var said []string
		for _, g := range f.Findings {
			if g.Level != "note" {
				said = append(said, spoken(g.Code, g.Level, g.Found))
			}
		}
		slices.Sort(said)
		return said
	}
	page := func() string {
		t.Helper()
		_, body := get(t, p.monitor+"/")
		return body
	}
	overview := func() (said []string) {
		for _, item := range listed.FindAllStringSubmatch(page(), -1) {
			said = append(said, spoken(item[1], item[2], item[3]))
		}
		slices.Sort(said)
		return said
	}
	probe := func() (said []string) {
		var ready readiness
		getJSON(t, p.monitor+"/readyz", &ready)
		for _, warning := range ready.Warnings {
			code, rest, _ := strings.Cut(warning, ": ")
			said = append(said, spoken(code, "", rest))
		}
		slices.Sort(said)
		return said
	}
	var doctor []string
	eventually(t, "the daemon has looked at everything", func() bool {
		doctor = command("doctor")
		return slices.Equal(doctor, overview())
	})
	for _, code := range []string{"no-relay/broken", "events-late/broken", "redis-evicts/warning", "queue-unserved/broken", "tasks-failing/warning"} {
		if !slices.ContainsFunc(doctor, func(said string) bool { return strings.HasPrefix(said, code+": ") }) {
			t.Errorf("doctor does not say %s: %q", code, doctor)
		}
	}
	if top := command("top"); !slices.Equal(top, doctor) {
		t.Errorf("top says %q, doctor %q", top, doctor)
	}
	warnings := probe()
	if len(warnings) != len(doctor) {
		t.Errorf("/readyz says %q, doctor %q", warnings, doctor)
	}
	for i := range min(len(warnings), len(doctor)) {
		code, found, _ := strings.Cut(doctor[i], ": ")
		code, _, _ = strings.Cut(code, "/")
		if !strings.HasPrefix(warnings[i], code+"/: "+found) {
			t.Errorf("/readyz says %q, doctor %q", warnings[i], doctor[i])
		}
	}
	if text := page(); !regexp.MustCompile(`[0-9]+ problems; 2 events and 2 tasks wait, the oldest `).MatchString(text) {
		t.Errorf("the overview begins with %q", regexp.MustCompile(`(?s)class="headline".*?</p>`).FindString(text))
	}
	p.stop()
}
