package bench_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/app/bench/drains"
	"outboxd/app/bench/effects"
	"outboxd/app/bench/env"
	"outboxd/app/bench/result"
	"outboxd/app/bench/spec"
)

func TestDrain(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	report, doc := measure(t, e, "drain", "--events=300", "--sample=50", "--rounds=2", "--batch=20", "--concurrency=3")
	doc.wantRates(t, 2, "textbook", "outboxd", "floor")
	doc.wantRatios(t, "textbook", "floor")
	if doc.Environment["relay_batch_size"] != "20" || doc.Environment["relay_concurrency"] != "3" {
		t.Errorf("the try-out's settings are not in the report: %v", doc.Environment)
	}
	if got, want := doc.Ratios["floor"], doc.Arms[1].EventsPerSecond/doc.Arms[2].EventsPerSecond; got != want {
		t.Errorf("ratio floor is %v, want %v", got, want)
	}
	var table bytes.Buffer
	if err := report.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"textbook", "outboxd", "floor", "events/s", "ratio"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table does not say %q:\n%s", want, table.String())
		}
	}
	if _, err := attempt(t, e, "drain", "--rounds=0"); err == nil {
		t.Error("no round at all was accepted")
	}
}

func TestDrainWithoutHistory(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.Config.Relay.History = 0
	_, doc := measure(t, e, "drain", "--events=100", "--sample=10", "--rounds=1")
	doc.wantRates(t, 1, "textbook", "outboxd", "floor")
	var kept int
	if err := e.Admin.QueryRow(t.Context(), "SELECT count(*) FROM outbox_sent").Scan(&kept); err != nil || kept != 0 {
		t.Errorf("%d rows in a history that is off, %v", kept, err)
	}
}

// TestFloorIsAsynq compares what the floor writes with what Asynq writes. The floor is a fair
// baseline only if it writes no less.
func TestFloorIsAsynq(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	measure(t, e, "drain", "--events=3", "--sample=1", "--rounds=1", "--payload=40")
	ids, err := e.Redis.LRange(t.Context(), "asynq:{"+env.Queue+"}:pending", 0, -1).Result()
	if err != nil || len(ids) != 3 {
		t.Fatalf("tasks %v, %v", ids, err)
	}
	key := func(id string) string { return "asynq:{" + env.Queue + "}:t:" + id }
	floor, err := e.Redis.HGetAll(t.Context(), key(ids[0])).Result()
	if err != nil {
		t.Fatal(err)
	}
	queues, err := e.Redis.SMembers(t.Context(), "asynq:queues").Result()
	if err != nil || len(queues) != 1 || queues[0] != env.Queue {
		t.Errorf("queues %v, %v", queues, err)
	}
	inspector := asynq.NewInspector(e.RedisOpt)
	defer inspector.Close()
	info, err := inspector.GetTaskInfo(env.Queue, ids[0])
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Payload) != 40 || info.State != asynq.TaskStatePending {
		t.Errorf("task %+v", info)
	}
	client := asynq.NewClient(e.RedisOpt)
	defer client.Close()
	const other = "01890000-0000-7000-8000-0000000000ff"
	if _, err := client.EnqueueContext(t.Context(), asynq.NewTask(info.Type, info.Payload), asynq.TaskID(other)); err != nil {
		t.Fatal(err)
	}
	own, err := e.Redis.HGetAll(t.Context(), key(other)).Result()
	if err != nil {
		t.Fatal(err)
	}
	if len(own) != len(floor) || own["state"] != floor["state"] || len(own["pending_since"]) != len(floor["pending_since"]) {
		t.Errorf("floor %v, Asynq %v", floor, own)
	}
	if got, want := strings.ReplaceAll(floor["msg"], ids[0], other), own["msg"]; got != want {
		t.Errorf("message %q, Asynq's %q", got, want)
	}
}

func TestHorizon(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	report, doc := measure(t, e, "horizon", "--events=400", "--rounds=2", "--batch=20")
	doc.wantRates(t, 2, "outboxd", "outboxd, old snapshot", "textbook claim", "textbook claim, old snapshot")
	doc.wantRatios(t, "snapshot", "textbook_snapshot")
	doc.wantCurves(t, 400)
	wantPlot(t, report)
	// The server may still be ending a connection that was closed.
	deadline := time.Now().Add(30 * time.Second)
	for held := -1; held != 0; {
		err := e.Admin.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND state LIKE 'idle in transaction%'`).Scan(&held)
		if err != nil || held != 0 && time.Now().After(deadline) {
			t.Fatalf("%d transactions are still open, %v", held, err)
		}
	}
}

func TestBacklog(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	report, doc := measure(t, e, "backlog", "--sizes=600,200", "--rounds=1", "--batch=20")
	doc.wantRates(t, 1, "200 pending", "600 pending")
	doc.wantRatios(t, "largest")
	doc.wantCurves(t, 200)
	wantPlot(t, report)
}

func TestScale(t *testing.T) {
	t.Parallel()
	_, doc := measure(t, newEnv(t), "scale", "--relays=3,1", "--events=2000", "--rounds=1", "--batch=20")
	doc.wantRates(t, 1, "1 relays", "3 relays")
	doc.wantRatios(t, "largest")
	for _, arm := range doc.Arms {
		if twice, found := arm.Figures["delivered_twice"]; !found || twice != 0 {
			t.Errorf("%q delivered %v events twice, said: %t", arm.Name, twice, found)
		}
	}
}

func TestOverhead(t *testing.T) {
	t.Parallel()
	_, doc := measure(t, newEnv(t), "overhead", "--events=300", "--rounds=1", "--batch=20")
	doc.wantRates(t, 1, "off", "scraped", "sampled", "traced")
	doc.wantRatios(t, "scraped", "sampled", "traced")
	for _, arm := range doc.Arms {
		if spans := arm.Figures["spans"]; (spans > 0) != (arm.Name == "traced") && arm.Name != "sampled" || spans > 300 {
			t.Errorf("%q handed over %v spans", arm.Name, spans)
		}
	}
}

// A benchmark whose context has ended returns that as its error.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, b := range []spec.Bench{drains.Drain(), drains.Horizon(), drains.Backlog(), drains.Scale(), drains.Overhead(), effects.Effects()} {
		if _, err := b.Prepare(newFlags())(ctx, e); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", b.Name, err)
		}
	}
}

// wantPlot checks that the picture is well-formed and has a line for each arm.
func wantPlot(t *testing.T, report *result.Report) {
	t.Helper()
	var text bytes.Buffer
	if err := report.WritePlot(&text); err != nil {
		t.Fatal(err)
	}
	lines, names := 0, 0
	for decoder := xml.NewDecoder(&text); ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			if token.Name.Local == "polyline" {
				lines++
			}
		case xml.CharData:
			for _, arm := range report.Arms {
				if string(token) == arm.Name {
					names++
				}
			}
		}
	}
	if lines != len(report.Arms) || names != len(report.Arms) {
		t.Errorf("%d lines and %d names for %d arms", lines, names, len(report.Arms))
	}
}

func TestEffectsSuggest(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	report, doc := measure(t, e, "effects", "--suggest", "--events=60", "--rounds=1", "--batch=50")
	if len(doc.Suggestions) != 2 {
		t.Fatalf("suggested: %+v", doc.Suggestions)
	}
	for i, handlers := range []string{"a transaction for each event", "batches"} {
		s := doc.Suggestions[i]
		if s.Handlers != handlers || s.Tasks < 1 || s.Default < 1 || s.Connections < 4 || s.Reason == "" || len(s.Flags) != 1 || s.Flags[0] != fmt.Sprintf("--worker-concurrency=%d", s.Tasks) {
			t.Errorf("suggested for %s: %+v", handlers, s)
		}
	}
	if s := doc.Suggestions[0]; s.Connections <= s.Tasks {
		t.Errorf("%d connections for %d tasks with a transaction each", s.Connections, s.Tasks)
	}
	for i := range doc.Arms {
		if doc.Arms[i].EventsPerSecond <= 0 {
			t.Errorf("arm %q has no rate", doc.Arms[i].Name)
		}
	}
	var text strings.Builder
	if err := report.WriteTable(&text); err != nil {
		t.Fatal(err)
	}
	if want := "For handlers with batches:\n  " + doc.Suggestions[1].Flags[0] + "\n"; !strings.Contains(text.String(), want) {
		t.Errorf("the table does not have %q:\n%s", want, text.String())
	}
	for _, other := range []string{"--rtt=1ms", "--only=floor", "--at-once=8", "--batch-at-once=64", "--key-events=10"} {
		name, _, _ := strings.Cut(other, "=")
		if _, err := attempt(t, e, "effects", "--suggest", other); err == nil || !strings.Contains(err.Error(), "leave out "+name) {
			t.Errorf("%s: %v", other, err)
		}
	}
}

// The search begins at the configured number of tasks. The suggestion replaces a pool that is too
// small for it.
func TestEffectsSuggestFollowsTheConfiguration(t *testing.T) {
	t.Parallel()
	o := options(t)
	c := *o.Config
	c.Worker.Concurrency, c.Database.MaxConns = 3, 20
	o.Config = &c
	_, doc := measure(t, newEnvOn(t, o), "effects", "--suggest", "--events=30", "--rounds=1", "--batch=30")
	var names []string
	for _, arm := range doc.Arms {
		names = append(names, arm.Name)
	}
	var want []string
	for _, way := range []string{"one by one", "in batches"} {
		for _, n := range []int{1, 3, 6, 12} {
			want = append(want, fmt.Sprintf("%s, %d at once", way, n))
		}
	}
	if !slices.Equal(names, want) {
		t.Errorf("measured %q, want %q", names, want)
	}
	for _, s := range doc.Suggestions {
		if len(s.Flags) != 2 || s.Flags[1] != "--database-max-conns=0" || !strings.Contains(s.Reason, "--database-max-conns=20 is too few") {
			t.Errorf("suggested for %s: %+v", s.Handlers, s)
		}
	}
}

func TestEffects(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	_, doc := measure(t, e, "effects", "--events=200", "--rounds=1", "--at-once=8", "--batch-at-once=32", "--key-events=60", "--batch=50", "--rtt=2ms")
	doc.wantRates(t, 1, "one by one", "together", "in batches", "without effect", "external", "floor", "one key, one by one", "one key, in batches",
		"one by one, 2ms away", "together, 2ms away", "in batches, 2ms away", "without effect, 2ms away", "external, 2ms away", "floor, 2ms away",
		"one key, one by one, 2ms away", "one key, in batches, 2ms away")
	doc.wantRatios(t, "single", "together", "batch", "external", "single_rtt", "together_rtt", "batch_rtt", "floor_rtt")
	if got, want := doc.Ratios["single"], doc.Arms[0].EventsPerSecond/doc.Arms[5].EventsPerSecond; got != want {
		t.Errorf("ratio single is %v, want %v", got, want)
	}
	for _, args := range [][]string{{"--at-once=0"}, {"--rtt=-1ms"}, {"--events=0"}} {
		if _, err := attempt(t, e, "effects", args...); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
}
