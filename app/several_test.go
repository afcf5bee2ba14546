package app_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/app/faulttest"
	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/postgrestest"
	"outboxd/app/servertest/redistest"
	"outboxd/jobs/broker"
)

// TestSeveralDatabases relays from several databases to one Redis. One of them cannot be
// reached at first, and is killed later; another is a second name of the first.
func TestSeveralDatabases(t *testing.T) {
	t.Parallel()
	orders, billing, redis := schematest.Database(t), postgrestest.Start(t), servertest.Redis(t)
	billing.Stop()
	p := start(t, "--roles=relay,monitor", "--redis-url="+redis, "--databases=orders="+orders+" twin="+otherName(t, orders), "--databases=billing="+billing.URL(),
		"--database-connect-timeout=500ms")

	const events = 20
	emit := func(databaseURL string) {
		t.Helper()
		books := openLedger(t, databaseURL)
		var emitted int
		books.scan(&emitted, "SELECT count(outboxd.emit('test:several', '{}')) FROM generate_series(1, $1)", events)
	}
	options, err := asynq.ParseRedisURI(redis)
	if err != nil {
		t.Fatal(err)
	}
	inspector := asynq.NewInspector(options)
	t.Cleanup(func() { _ = inspector.Close() })
	awaitTasks := func(n int) {
		t.Helper()
		eventually(t, "the tasks are in Redis", func() bool {
			info, err := inspector.GetQueueInfo("default")
			return err == nil && info.Pending == n
		})
	}
	checks := func() (status int, failing []string, warnings string) {
		var ready readiness
		status = getJSON(t, p.monitor+"/readyz", &ready)
		for _, c := range ready.Checks {
			if c.Status != "ok" {
				failing = append(failing, c.Name)
			}
		}
		return status, failing, strings.Join(ready.Warnings, "\n")
	}
	awaitFailing := func(want ...string) {
		t.Helper()
		eventually(t, "/readyz says which databases are not served", func() bool {
			status, failing, _ := checks()
			return status == http.StatusOK && slices.Equal(failing, want)
		})
	}

	// Of two names for one database, the one that is opened first is served.
	served, _ := p.awaitLog("this database is served")["source"].(string)
	twin := map[string]string{"orders": "twin", "twin": "orders"}[served]
	emit(orders)
	awaitTasks(events)
	awaitFailing("postgres "+twin, "postgres billing")
	eventually(t, "the warnings name the databases", func() bool {
		_, _, warnings := checks()
		return strings.Contains(warnings, "billing: this process does not serve the database: the database does not answer") &&
			strings.Contains(warnings, twin+": this process does not serve the database: it has the same outbox as "+served) &&
			!strings.Contains(warnings, served+": this process")
	})

	shows := func(path string, status int, text string) {
		t.Helper()
		if got, page := get(t, p.monitor+path); got != status || !strings.Contains(page, text) {
			t.Errorf("%s: %d, want %d with %q:\n%.3000s", path, got, status, text, page)
		}
	}
	shows("/databases/"+served+"/events?type=test:several", http.StatusOK, "test:several")
	shows("/databases/"+twin+"/", http.StatusServiceUnavailable, "it has the same outbox as "+served)
	shows("/databases/billing/events", http.StatusServiceUnavailable, "the database does not answer")

	billing.Start()
	awaitFailing("postgres " + twin)
	emit(billing.URL())
	awaitTasks(2 * events)
	shows("/databases/billing/events?type=test:several", http.StatusOK, "test:several")
	shows("/", http.StatusOK, `href="./databases/billing/"`)
	eventually(t, "each database has a leader, and its metrics name it", func() bool {
		_, metrics := get(t, p.monitor+"/metrics")
		found := true
		for _, source := range []string{served, "billing"} {
			found = found && strings.Contains(metrics, `outboxd_relay_events_total{outcome="enqueued",source="`+source+`"} 20`) &&
				strings.Contains(metrics, `outboxd_relay_pending_events{source="`+source+`"} 0`)
		}
		return found && strings.Contains(metrics, `outboxd_relay_source_open{source="`+twin+`"} 0`) && strings.Contains(metrics, `outboxd_relay_source_open{source="billing"} 1`)
	})

	databases := []string{"--redis-url=" + redis, "--databases=" + served + "=" + orders, "--databases=billing=" + billing.URL(), "--database-connect-timeout=5s"}
	file := writeFile(t, "subscriptions.yaml", "- {name: audit, types: [test:audit], url: https://audit.example.com/}\n")
	for _, source := range []string{served, "billing"} {
		if r := execute(t, nil, append([]string{"subscriptions", "apply", "-f", file, "--yes", "--source=" + source}, databases...)...); r.code != 0 {
			t.Fatalf("subscriptions apply ends with %d and says %s", r.code, r.message())
		}
	}
	r := execute(t, nil, append([]string{"doctor"}, databases...)...)
	if want := "subscription-twice: 1 subscription has the same name in several databases: audit (" + served + ", billing)"; r.code != 1 || !strings.Contains(r.stdout, want) {
		t.Errorf("doctor ends with %d and says %s, want %s", r.code, r.stdout, want)
	}

	billing.Stop()
	awaitFailing("postgres "+twin, "postgres billing")
	emit(orders)
	awaitTasks(3 * events)
	r = execute(t, nil, append([]string{"doctor"}, databases...)...)
	if r.code != 1 || !strings.Contains(r.stdout, "postgres-unreachable: billing: ") || strings.Contains(r.stdout, "postgres-unreachable: "+served) ||
		strings.Contains(r.stdout+r.stderr, "--database-url") || !strings.Contains(r.stderr, "--databases, OUTBOXD_DATABASES or databases says where it is") {
		t.Errorf("doctor ends with %d and says %s%s", r.code, r.stdout, r.stderr)
	}
	r = execute(t, nil, append([]string{"events", "list"}, databases...)...)
	if want := "outboxd events list needs one: choose it with --source, which may be " + served + " or billing"; r.code != 2 || !strings.Contains(r.stderr, want) {
		t.Errorf("events list ends with %d and says %s, want %s", r.code, r.stderr, want)
	}
	r = execute(t, nil, append([]string{"events", "list", "--type=test:several", "--limit=1", "--source=" + served}, databases...)...)
	if r.code != 0 || !strings.Contains(r.stdout, "test:several") {
		t.Errorf("events list --source ends with %d and says %s%s", r.code, r.stdout, r.stderr)
	}
	p.stop()
}

// TestPausesOfSeveralDatabases pauses and resumes a queue between two examinations of Redis, which are a minute apart.
// Nevertheless /readyz says what is so now.
func TestPausesOfSeveralDatabases(t *testing.T) {
	t.Parallel()
	redis := servertest.Redis(t)
	client := openRedis(t, redis)
	pause := func() {
		t.Helper()
		if err := errors.Join(client.SAdd(t.Context(), broker.QueuesKey, "lonely").Err(), client.Set(t.Context(), broker.PausedKey("lonely"), time.Now().Unix(), 0).Err()); err != nil {
			t.Fatal(err)
		}
	}
	pause()
	p := start(t, "--roles=monitor", "--redis-url="+redis, "--databases=orders="+schematest.Database(t)+" billing="+schematest.Database(t))
	prober := browse(t) // which opens no connection for each probe
	says := func(want int) {
		t.Helper()
		within(t, patience/2, "/readyz says it", func() bool {
			response, err := prober.Get(p.monitor + "/readyz")
			if err != nil {
				return false
			}
			defer func() { _ = response.Body.Close() }()
			body, err := io.ReadAll(response.Body)
			return err == nil && bytes.Count(body, []byte(`"queue-paused: queue lonely is paused`)) == want && bytes.Count(body, []byte("lonely")) == want
		})
	}
	p.awaitLog("queue lonely is paused") // an examination has ended
	says(1)
	if err := client.Del(t.Context(), broker.PausedKey("lonely")).Err(); err != nil {
		t.Fatal(err)
	}
	says(0)
	pause()
	says(1)
	p.stop()
}

// TestSourcesThatCannotBeServed has a database that refuses the password, one without migrations,
// and one that falls silent, beside a good one. Redis is restarted while the silent one is silent.
func TestSourcesThatCannotBeServed(t *testing.T) {
	t.Parallel()
	good, redis := schematest.Database(t), redistest.Start(t)
	behind := schematest.Database(t)
	silent := faulttest.NewProxy(t, behind)
	p := start(t, "--roles=relay", "--migrate=off", "--redis-url="+redis.URL(), "--databases=good="+good+" silent="+silent.URL()+" bare="+servertest.Database(t),
		"--databases=wrong=postgres://outboxd:secret@"+refusingPostgres(t)+"/outboxd?sslmode=disable", "--database-connect-timeout=500ms")
	books, silentBooks := openLedger(t, good), openLedger(t, behind)
	emit := func(books ledger) {
		t.Helper()
		var emitted int
		books.scan(&emitted, "SELECT count(outboxd.emit('test:several', '{}')) FROM generate_series(1, 5)")
	}
	awaitMetric := func(line string) {
		t.Helper()
		eventually(t, "the metrics have "+line, func() bool {
			_, metrics := get(t, p.monitor+"/metrics")
			return strings.Contains(metrics, "\n"+line+"\n")
		})
	}
	var warnings string
	awaitFailing := func(want ...string) {
		t.Helper()
		eventually(t, "/readyz answers 200 in time, and says which databases are not served", func() bool {
			var ready readiness
			var failing []string
			begun := time.Now()
			status := getJSON(t, p.monitor+"/readyz", &ready)
			took := time.Since(begun)
			for _, c := range ready.Checks {
				if c.Status != "ok" {
					failing = append(failing, c.Name)
				}
			}
			warnings = strings.Join(ready.Warnings, "\n")
			return status == http.StatusOK && slices.Equal(failing, want) && took < readyzPatience
		})
	}
	emit(books)
	awaitMetric(`outboxd_relay_events_total{outcome="enqueued",source="good"} 5`)
	awaitFailing("postgres bare", "postgres wrong")
	for _, part := range []string{
		"wrong: this process does not serve the database: the database refuses the connection", "bare: this process does not serve the database: ",
	} {
		if !strings.Contains(warnings, part) {
			t.Errorf("the warnings lack %q:\n%s", part, warnings)
		}
	}
	redis.Kill()
	emit(silentBooks)
	emit(books)
	awaitMetric(`outboxd_relay_breaker_open{server="queue",source="silent"} 1`)
	silent.Stall()
	redis.Start()
	// The relay heals after the restart, and then counts repeats too.
	enqueued := regexp.MustCompile(`\noutboxd_relay_events_total{outcome="enqueued",source="good"} (\d+)\n`)
	eventually(t, "ten events are enqueued", func() bool {
		_, metrics := get(t, p.monitor+"/metrics")
		found := enqueued.FindStringSubmatch(metrics)
		if found == nil {
			return false
		}
		n, err := strconv.Atoi(found[1])
		return err == nil && n >= 10
	})
	awaitFailing("postgres silent", "postgres bare", "postgres wrong")
	silent.Resume()
	awaitFailing("postgres bare", "postgres wrong")
	p.stop()
}

// readyzPatience is the timeout of the readiness probe in the Helm chart.
const readyzPatience = 5 * time.Second

// otherName returns a URL of the same database whose host has another name.
func otherName(t *testing.T, databaseURL string) string {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	folder, err := os.MkdirTemp("", "pg") //nolint:usetesting // t.TempDir is too long for the path of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	link := filepath.Join(folder, "s")
	if err := os.Symlink(query.Get("host"), link); err != nil {
		t.Fatal(err)
	}
	query.Set("host", link)
	u.RawQuery = query.Encode()
	return u.String()
}
