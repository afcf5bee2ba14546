package app_test

import (
	"database/sql"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"outboxd/app/child"
	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/postgrestest"
	"outboxd/app/servertest/redistest"
)

var (
	fanOutEvents = flag.Int("fanout", 200, "how many events TestFanOut emits")
	fanOutRounds = flag.Int("fanout-rounds", 1, "how often TestFanOut kills each process and server")
)

const fanOutSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// fan is a system of a service outside of the tree, a receiver in Python and one in Go. The test can kill each
// process and server of the system.
type fan struct {
	t         *testing.T
	postgres  *postgrestest.Server
	redis     *redistest.Server
	billing   string // the consumer's database
	shop      string
	dir       string
	port      string // of the receiver in Python
	receivers map[string]*counted
	running   map[string]*child.Process
}

// counted stands before a receiver and counts the deliveries that the receiver took.
type counted struct {
	mu    sync.Mutex
	taken map[string]int // by webhook-id
	first []string       // in the order in which each was taken first
	proxy *httptest.Server
}

// count starts a proxy of a receiver; with an empty address it is the receiver itself.
func count(t *testing.T, address string) *counted {
	t.Helper()
	c := &counted{taken: map[string]int{}}
	take := func(id string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.taken[id]++; c.taken[id] == 1 {
			c.first = append(c.first, id)
		}
	}
	handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { take(r.Header.Get("webhook-id")) })
	if address != "" {
		proxy := &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: address}) },
			ModifyResponse: func(r *http.Response) error {
				if r.StatusCode == http.StatusOK {
					take(r.Request.Header.Get("webhook-id"))
				}
				return nil
			},
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
		}
		handler = proxy.ServeHTTP
	}
	c.proxy = httptest.NewServer(handler)
	t.Cleanup(c.proxy.Close)
	return c
}

func (f *fan) build() {
	f.t.Helper()
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			f.t.Fatal(err)
		}
		return string(text)
	}
	tree, err := filepath.Abs("..")
	if err != nil {
		f.t.Fatal(err)
	}
	module := f.t.TempDir()
	requirements := read("../docs/examples/orders/go.mod")
	if at := strings.Index(requirements, "replace"); at >= 0 {
		requirements = requirements[:at]
	}
	for name, text := range map[string]string{
		"main.go": read("testdata/fanout/main.go.txt"), "go.sum": read("../docs/examples/orders/go.sum"),
		"go.mod": strings.Replace(requirements, "example.com/orders", "example.com/shop", 1) + "\nreplace outboxd/client => " + filepath.Join(tree, "client") + "\n",
	} {
		if err := os.WriteFile(filepath.Join(module, name), []byte(text), 0o600); err != nil {
			f.t.Fatal(err)
		}
	}
	f.shop = filepath.Join(module, "shop")
	build := exec.CommandContext(f.t.Context(), "go", "build", "-trimpath", "-mod=mod", "-o", f.shop, ".")
	build.Dir = module
	if out, err := build.CombinedOutput(); err != nil {
		f.t.Fatalf("%v: %s", err, out)
	}
}

// command returns the command that starts the process called name.
func (f *fan) command(name string) *exec.Cmd {
	servers := []string{"--database-url=" + f.postgres.URL(), "--redis-url=" + f.redis.URL(), "--data-dir=" + f.dir, "--monitor-addr=", "--redis-check-interval=1s"}
	switch name {
	case "relay":
		return exec.Command(os.Args[0], append(servers, "--roles=relay")...)
	case "worker":
		return exec.Command(os.Args[0], append(servers, "--roles=worker", "--worker-queues=unused=1", "--deliver-allow=127.0.0.0/8", "--deliver-check-interval=100ms")...)
	case "receiver":
		return exec.Command("python3", "../docs/examples/receivers/receiver.py", f.port, filepath.Join(f.dir, "python.sqlite"))
	case "consumer":
		return exec.Command(f.shop, "consume", f.billing, f.redis.URL())
	default:
		return exec.Command(f.shop, "produce", f.postgres.URL(), fmt.Sprint(*fanOutEvents))
	}
}

// start starts a process, unless it runs.
func (f *fan) start(name string) {
	f.t.Helper()
	if p := f.running[name]; p != nil {
		select {
		case <-p.Done():
		default:
			return
		}
	}
	cmd := f.command(name)
	log, err := os.OpenFile(filepath.Join(f.dir, name+".log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		f.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(servertest.Environ(), processVariable+"=1", "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"), "SHOP_SECRET="+fanOutSecret, "RECEIVER_SECRETS="+fanOutSecret)
	keepOpen(f.t, cmd)
	p, err := child.Start(cmd, syscall.SIGKILL)
	if err != nil {
		f.t.Fatal(err)
	}
	f.running[name] = p
	f.t.Cleanup(func() { _ = p.Signal(syscall.SIGKILL); <-p.Done() })
}

// revive starts the relay, the worker, the receiver and the consumer, each unless it runs.
func (f *fan) revive() {
	f.t.Helper()
	for _, name := range []string{"relay", "worker", "receiver", "consumer"} {
		f.start(name)
	}
}

func (f *fan) kill(name string) {
	f.t.Helper()
	switch name {
	case "postgres":
		f.postgres.Stop()
		f.postgres.Start()
	case "redis":
		f.redis.Kill()
		f.redis.Start()
	case "redis's data":
		f.redis.Flush()
	default:
		_ = f.running[name].Signal(syscall.SIGKILL)
		<-f.running[name].Done()
	}
}

// TestFanOut sends each event of a foreign service to a consumer with a database of its
// own, to a receiver in Python and to one in Go, while each process and server is killed
// in turn and Redis is emptied once.
func TestFanOut(t *testing.T) {
	t.Parallel()
	f := &fan{t: t, postgres: postgrestest.Start(t), redis: redistest.Start(t), dir: t.TempDir(), running: map[string]*child.Process{}}
	f.port = strconv.Itoa(servertest.FreePort(t))
	f.build()
	servertest.Execute(t, f.postgres.URL(), "CREATE DATABASE billing")
	billing, err := url.Parse(f.postgres.URL())
	if err != nil {
		t.Fatal(err)
	}
	billing.Path = "/billing"
	f.billing = billing.String()
	f.receivers = map[string]*counted{"python": count(t, "127.0.0.1:"+f.port), "go": count(t, "")}
	if r := execute(t, nil, "migrate", "up", "--database-url="+f.postgres.URL()); r.code != 0 {
		t.Fatal(r.stderr)
	}
	for _, database := range []string{f.postgres.URL(), f.billing} {
		if out, err := exec.CommandContext(t.Context(), f.shop, "migrate", database).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	var file strings.Builder
	for name, r := range f.receivers {
		fmt.Fprintf(&file, "- {name: %s, types: ['order:*'], url: '%s', secret: 'env:SHOP_SECRET', ordering: key, retry: {attempts: 1000, max: 2s}}\n", name, r.proxy.URL)
	}
	path := filepath.Join(f.dir, "subscriptions.yaml")
	if err := os.WriteFile(path, []byte(file.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := execute(t, nil, "subscriptions", "apply", "-f", path, "--yes", "--database-url="+f.postgres.URL()); r.code != 0 {
		t.Fatal(r.stderr)
	}
	f.revive()
	f.start("producer")
	begun := time.Now()
	for round := range *fanOutRounds {
		for _, name := range []string{"relay", "worker", "receiver", "consumer", "postgres", "redis", "redis's data"} {
			if name == "redis's data" && round > 0 {
				continue
			}
			f.awaitProgress()
			t.Logf("%6.1fs kill the %s", time.Since(begun).Seconds(), name)
			f.kill(name)
			f.revive()
			f.start("producer")
		}
	}
	db := schematest.Connect(t, f.postgres.URL()).SQL()
	ask := func(db *sql.DB, query string) (n int) {
		if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
			return -1
		}
		return n
	}
	own := schematest.Connect(t, f.billing).SQL()
	limit := 2*patience + time.Duration(*fanOutEvents)*30*time.Millisecond
	within(t, limit, "the producer ends", func() bool { f.revive(); return ask(db, "SELECT count(*) FROM public.orders") >= *fanOutEvents })
	t.Logf("%6.1fs all orders are there", time.Since(begun).Seconds())
	within(t, limit, "every event is confirmed for each of its consumers", func() bool {
		f.revive()
		return ask(db, `SELECT count(*) FROM public.orders o WHERE NOT EXISTS (SELECT FROM outboxd.inbox i WHERE i.event_id = o.event_id::uuid)
			OR EXISTS (SELECT FROM outboxd.outbox_subscriptions s WHERE NOT EXISTS (SELECT FROM outboxd.inbox i WHERE i.event_id = outboxd.outbox_delivery_id(o.event_id::uuid, s.id)))`) == 0
	})
	orders := ask(db, "SELECT count(*) FROM public.orders")
	t.Logf("%d orders took %v", orders, time.Since(begun).Round(time.Second))
	if n := ask(own, "SELECT count(*) FROM public.invoices"); n != orders || ask(own, "SELECT count(DISTINCT order_id) FROM public.invoices") != orders {
		t.Errorf("%d invoices of %d orders", n, orders)
	}
	const late = `SELECT count(*) FROM (SELECT order_id < max(order_id) OVER (PARTITION BY customer ORDER BY id) AS late FROM public.invoices) AS o WHERE late`
	if n := ask(own, late); n != 0 {
		t.Errorf("%d invoices are out of order", n)
	}
	f.receiversHave(db, orders)
	r := execute(t, nil, "verify", "--database-url="+f.postgres.URL(), "--redis-url="+f.redis.URL())
	if r.code != 0 {
		t.Errorf("verify ends with %d:\n%s%s", r.code, r.stdout, r.stderr)
	}
}

// awaitProgress waits until the receiver in Python has taken some more events.
func (f *fan) awaitProgress() {
	f.t.Helper()
	python := f.receivers["python"]
	some := func() int { python.mu.Lock(); defer python.mu.Unlock(); return len(python.first) }
	before := some()
	within(f.t, 2*patience, "deliveries go on", func() bool { f.revive(); return some() >= min(before+*fanOutEvents/(20**fanOutRounds), *fanOutEvents) })
}

// receiversHave compares what the receivers took with the orders.
func (f *fan) receiversHave(db *sql.DB, orders int) {
	f.t.Helper()
	rows, err := db.QueryContext(f.t.Context(), "SELECT event_id, customer FROM public.orders ORDER BY id")
	if err != nil {
		f.t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var ids []string
	place, customer := map[string]int{}, map[string]string{}
	for rows.Next() {
		var id, name string
		if err := rows.Scan(&id, &name); err != nil {
			f.t.Fatal(err)
		}
		place[id], customer[id] = len(ids), name
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		f.t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(f.receivers)) {
		r := f.receivers[name]
		r.mu.Lock()
		repeats := 0
		for _, n := range r.taken {
			repeats += n - 1
		}
		f.t.Logf("receiver %s took %d events, and %d repeats", name, len(r.taken), repeats)
		if len(r.taken) != orders {
			f.t.Errorf("receiver %s took %d events of %d", name, len(r.taken), orders)
		}
		last, late := map[string]int{}, 0
		for _, id := range r.first {
			if place[id] < last[customer[id]] {
				late++
			}
			last[customer[id]] = max(last[customer[id]], place[id])
		}
		if late > 0 {
			f.t.Errorf("receiver %s took %d events out of order", name, late)
		}
		r.mu.Unlock()
	}
	python, err := exec.CommandContext(f.t.Context(), "python3", "-c", "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute('SELECT count(*), count(DISTINCT webhook_id) FROM effects').fetchone())",
		filepath.Join(f.dir, "python.sqlite")).Output()
	if got, want := strings.TrimSpace(string(python)), fmt.Sprintf("%d %d", orders, orders); err != nil || got != want {
		f.t.Errorf("the receiver in Python has %s effects, %v, want %s", got, err, want)
	}
}
