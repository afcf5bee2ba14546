package config_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"outboxd/config"
)

// Each setting has exactly one fault, whose text holds all of want.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		set  setting
		want []string
	}{
		{"role unknown", setting{flags: []string{"--roles=api,wroker"}}, []string{`"wroker"`, "--roles", "OUTBOXD_ROLES", "flag --roles", "api, relay, worker and monitor"}},
		{"one token of two people", setting{flags: []string{"--access-tokens=ada=admin:sha256:" + strings.Repeat("0a", 32) + ",bob=viewer:sha256:" + strings.Repeat("0A", 32)}}, []string{`"ada" and "bob" have the same token`}},
		{"a person's token that is the admin token", setting{flags: []string{"--admin-token=" + strings.Repeat("a", 32), "--access-tokens=bob=viewer:sha256:3ba3f5f43b92602683c19aee62a20342b084dd5971ddd33808d81a328879a547"}}, []string{"is the token of admin_token (--admin-token", "make a token of its own"}},
		{"a token in the wrong form", setting{flags: []string{"--access-tokens=ada:operator:c2VjcmV0=="}}, []string{"name=role:sha256:digest"}},
		{"no role", setting{flags: []string{"--roles="}}, []string{"--roles", "empty"}},
		{"only commas", setting{flags: []string{"--roles=,"}}, []string{"no role"}},
		{"no number", setting{env: []string{"OUTBOXD_RELAY_CONCURRENCY=many"}}, []string{`"many"`, "whole number", "--relay-concurrency", "relay.concurrency", "environment OUTBOXD_RELAY_CONCURRENCY"}},
		{"number too small", setting{file: "relay:\n  batch_size: 0\n"}, []string{`"0"`, "1 to 10000", "outboxd.yaml:2"}},
		{"number too large", setting{flags: []string{fmt.Sprintf("--worker-concurrency=%d", config.MaxTasks+1)}}, []string{"0 to 5000"}},
		{"number with fraction", setting{file: "relay: {batch_size: 1.5}"}, []string{`"1.5"`}},
		{"duration without unit", setting{env: []string{"OUTBOXD_RELAY_HISTORY=30"}}, []string{`"30"`, "unit", "24h"}},
		{"duration negative", setting{flags: []string{"--shutdown-timeout=-1s"}}, []string{"1s to 1h"}},
		{"duration empty", setting{flags: []string{"--smtp-timeout="}}, []string{"empty", "10ms to 10m"}},
		{"size", setting{flags: []string{"--api-body-limit=64kb"}}, []string{"64KiB"}},
		{"size too large", setting{flags: []string{"--api-body-limit=9999999999999999MiB"}}, []string{"not a size"}},
		{"choice", setting{flags: []string{"--log-level=loud"}}, []string{`"loud"`, "debug, info, warn, error"}},
		{"choice in capitals", setting{flags: []string{"--migrate=OFF"}}, []string{"auto, off"}},
		{"exec mode", setting{flags: []string{"--database-exec-mode=prepare"}}, []string{"cache_describe"}},
		{"listen address", setting{flags: []string{"--api-addr=5001"}}, []string{`"5001"`, "host:port"}},
		{"listen address empty", setting{flags: []string{"--api-addr="}}, []string{"empty"}},
		{"port", setting{flags: []string{"--monitor-addr=127.0.0.1:99999"}}, []string{"host:port"}},
		{"networks", setting{flags: []string{"--api-trusted-proxies=10.0.0.0/33"}}, []string{`"10.0.0.0/33"`}},
		{"queue without weight", setting{flags: []string{"--worker-queues=default"}}, []string{"default=3"}},
		{"queue weight", setting{flags: []string{"--worker-queues=a=0"}}, []string{`"a"`, `"0"`, "1 to 1000"}},
		{"queue of a subscription", setting{flags: []string{"--worker-queues=a=1,subscription:crm=1"}}, []string{`"subscription:crm"`, "leave it out"}},
		{"queue twice", setting{flags: []string{"--worker-queues=a=1,a=2"}}, []string{"twice"}},
		{"queue name", setting{flags: []string{"--worker-queues=a b=1"}}, []string{"not allowed"}},
		{"database scheme", setting{flags: []string{"--database-url=mysql://h/d", "--notify=log"}}, []string{"postgres://", "--database-url"}},
		{"database neither", setting{flags: []string{"--database-url=localhost", "--notify=log"}}, []string{"key=value", "flag --database-url"}},
		{"database by DATABASE_URL", setting{env: []string{"DATABASE_URL=postgres://h:x/d", "OUTBOXD_NOTIFY=log"}}, []string{"port", "environment DATABASE_URL"}},
		{"database escape", setting{flags: []string{"--database-url=postgres://u:%zz@h/d", "--notify=log"}}, []string{"percent-encoded"}},
		{"database with #", setting{flags: []string{"--database-url=postgres://u:a#b@h/d", "--notify=log"}}, []string{"a #", "percent-encoded"}},
		{"database with two @", setting{flags: []string{"--database-url=postgres://u:a@b@h/d", "--notify=log"}}, []string{"percent-encoded"}},
		{"database with ;", setting{flags: []string{"--database-url=postgres://h/d?user=u;password=p", "--notify=log"}}, []string{"with & between"}},
		{"database with @ in a name", setting{flags: []string{"--database-url=postgres://u:p@a/b?c@h/d", "--notify=log"}}, []string{"percent-encoded"}},
		{"database pairs with ;", setting{flags: []string{"--database-url=host=h;user=u", "--notify=log"}}, []string{"spaces between"}},
		{"database names a file without an end", setting{flags: []string{"--database-url=postgres://h/d?sslrootcert=/dev/zero", "--notify=log"}}, []string{"--database-url", "sslrootcert: /dev/zero is no plain file"}},
		{"database pairs name a file without an end", setting{flags: []string{`--database-url=host=h passfile='/dev/\zero'`, "--notify=log"}}, []string{"passfile: /dev/zero is no plain file"}},
		{"a variable of libpq names a file without an end", setting{env: []string{"PGSSLKEY=/dev/zero"}}, []string{"PGSSLKEY: /dev/zero is no plain file"}},
		{"configuration without an end", setting{flags: []string{"--config=/dev/zero"}}, []string{"--config", "more than 1048576 bytes"}},
		{"shortest sleep above the longest", setting{flags: []string{"--relay-poll-min=7s", "--relay-poll-without-listen=10s"}}, []string{"7s", "6s", "relay.poll_interval"}},
		{"shortest sleep above the longest without LISTEN", setting{flags: []string{"--relay-poll-min=1s"}}, []string{"1s", "500ms", "relay.poll_without_listen"}},
		{"listen", setting{flags: []string{"--relay-listen=maybe"}}, []string{"on, off"}},
		{"listen URL", setting{flags: []string{"--relay-listen-url=redis://h", "--database-url=postgres://h/d", "--notify=log"}}, []string{"--relay-listen-url", "postgres://"}},
		{"listen URL alone", setting{flags: []string{"--relay-listen-url=postgres://h/d"}}, []string{"database.url (--database-url, OUTBOXD_DATABASE_URL)"}},
		{"redis scheme", setting{flags: []string{"--redis-url=http://h"}}, []string{"redis://", "redis-sentinel://"}},
		{"redis no URL", setting{flags: []string{"--redis-url=localhost:6379"}}, []string{"redis://"}},
		{"redis no host", setting{flags: []string{"--redis-url=redis:///0"}}, []string{"host"}},
		{"redis database", setting{flags: []string{"--redis-url=redis://h/zero"}}, []string{"/0"}},
		{"redis hosts", setting{flags: []string{"--redis-url=redis://a:6379,b:6379/0"}}, []string{"list of hosts", "redis-sentinel://"}},
		{"redis hosts without ports", setting{flags: []string{"--redis-url=redis://:p@a,b/0"}}, []string{"list of hosts"}},
		{"redis parameter db", setting{flags: []string{"--redis-url=redis://h/0?db=3"}}, []string{"parameter db", "/3"}},
		{"redis parameter", setting{flags: []string{"--redis-url=redis://h/0?dial_timeout=3s"}}, []string{"dial_timeout", "not used"}},
		{"redis strange parameter", setting{flags: []string{"--redis-url=redis://h/0?Secret!"}}, []string{"parameter that is not used"}},
		{"redis parameter twice", setting{flags: []string{"--redis-url=redis-socket:///r.sock?db=1&db=2"}}, []string{"db twice"}},
		{"redis fragment", setting{flags: []string{"--redis-url=redis://h/0#3"}}, []string{"#"}},
		{"redis two databases", setting{flags: []string{"--redis-url=redis://h/0/1"}}, []string{"/0"}},
		{"redis negative database", setting{flags: []string{"--redis-url=redis://h/-1"}}, []string{"/0"}},
		{"redis sentinel path", setting{flags: []string{"--redis-url=redis-sentinel://h:1/three?master=m"}}, []string{"path", "number"}},
		{"redis cluster path", setting{flags: []string{"--redis-url=redis-cluster://h:1,i:2/3"}}, []string{"path", "not used"}},
		{"redis cluster port", setting{flags: []string{"--redis-url=redis-cluster://h:1,i:x"}}, []string{"list of hosts"}},
		{"redis TLS without TLS", setting{flags: []string{"--redis-url=redis://h:1", "--redis-tls-ca=/ca.pem"}}, []string{"TLS is off", "rediss"}},
		{"redis key without certificate", setting{flags: []string{"--redis-url=rediss://h:1", "--redis-tls-key=/c.key"}}, []string{"--redis-tls-cert"}},
		{"redis sentinel user", setting{flags: []string{"--redis-url=redis-sentinel://h:1?master=m", "--redis-sentinel-username=u"}}, []string{"--redis-sentinel-password-file"}},
		{"redis password file", setting{flags: []string{"--redis-password-file=/p"}}, []string{"redis.url"}},
		{"database password file", setting{flags: []string{"--database-password-file=/p"}}, []string{"database.url"}},
		{"a standby alone", setting{flags: []string{"--database-read-url=postgres://h/d"}}, []string{"database.url"}},
		{"redis sentinel parameter", setting{flags: []string{"--redis-url=redis-sentinel://h:1?master=m&db=3"}}, []string{"db", "not used"}},
		{"redis socket", setting{flags: []string{"--redis-url=redis-socket://run/redis.sock"}}, []string{"absolute path"}},
		{"redis socket database", setting{flags: []string{"--redis-url=redis-socket:///run/redis.sock?db=x"}}, []string{"?db=0"}},
		{"redis sentinel", setting{flags: []string{"--redis-url=redis-sentinel://h:1"}}, []string{"master"}},
		{"monitor open to all", setting{flags: []string{"--monitor-addr=:8081"}}, []string{"--monitor-addr", "admin_token (--admin-token, OUTBOXD_ADMIN_TOKEN)"}},
		{"monitor on a name", setting{flags: []string{"--monitor-addr=example.com:8081"}}, []string{"admin_token"}},
		{"monitor, role off", setting{flags: []string{"--monitor-addr=0.0.0.0:8081", "--roles=relay"}}, []string{"admin_token"}},
		{"monitor, role off, names the probes", setting{flags: []string{"--monitor-addr=0.0.0.0:8081", "--roles=relay"}}, []string{"probe.addr (--probe-addr, OUTBOXD_PROBE_ADDR)"}},
		{"pages beside probes", setting{flags: []string{"--monitor-addr=:8081", "--probe-addr=:8082", "--roles=monitor"}}, []string{"admin_token"}},
		{"probe port", setting{flags: []string{"--probe-addr=127.0.0.1:99999"}}, []string{"host:port"}},
		{"token short", setting{flags: []string{"--admin-token=fifteen-bytes-x"}}, []string{"15 bytes", "16"}},
		{"inbox shorter than history", setting{flags: []string{"--relay-inbox-retention=1h"}}, []string{"--relay-inbox-retention", "1h", "168h", "relay.history (--relay-history, OUTBOXD_RELAY_HISTORY)"}},
		{"history too short", setting{flags: []string{"--relay-history=1ns"}}, []string{"--relay-history", "at least 1m, or 0"}},
		{"trace", setting{flags: []string{"--monitor-trace-url=https://u:secret@h/"}}, []string{"u:********@h", "{trace_id}"}},
		{"backoff", setting{flags: []string{"--relay-backoff-base=11m"}}, []string{"11m", "10m", "relay.backoff_max"}},
		{"connections, derived", setting{flags: []string{"--database-max-conns=7"}}, []string{"7 connections", "at least 26 (2 for the pollers, 2 for the tasks, 2 for the record of failed tasks, 8 for the deliveries, 8 for the API, 4 for everything else)", "or lower relay.concurrency"}},
		{"connections", setting{flags: []string{"--database-max-conns=33", "--worker-concurrency=10"}, handlers: config.Handlers{Transactions: true}}, []string{"33 connections", "at least 34", "2 for the pollers", "10 for the tasks", "relay.concurrency", "worker.concurrency"}},
		{"connections, api only", setting{flags: []string{"--database-max-conns=11", "--roles=api"}}, []string{"at least 12 (8 for the API, 4 for everything else)"}},
		{"notify unknown", setting{flags: []string{"--notify=pigeon"}}, []string{"log, smtp, webhook"}},
		{"notify missing", setting{flags: []string{"--database-url=postgres://h/d"}}, []string{"--notify", "OUTBOXD_NOTIFY", "log, smtp or webhook", "roles"}},
		{"notify missing of a worker apart", setting{flags: []string{"--roles=worker", "--example=on", "--database-url=postgres://h/d"}}, []string{"--notify", "log, smtp or webhook"}},
		{"smtp without server", setting{flags: []string{"--notify=smtp", "--smtp-from=a@example.com"}}, []string{"--smtp-addr"}},
		{"smtp without sender", setting{flags: []string{"--notify=smtp", "--smtp-addr=h:25"}}, []string{"--smtp-from"}},
		{"smtp address", setting{flags: []string{"--smtp-addr=:25"}}, []string{"no host"}},
		{"smtp address without port", setting{flags: []string{"--smtp-addr=mail.example.com"}}, []string{"host:port"}},
		{"smtp sender", setting{flags: []string{"--smtp-from=ada"}}, []string{`"ada"`}},
		{"smtp password alone", setting{flags: []string{"--notify=smtp", "--smtp-from=a@example.com", "--smtp-addr=h:25", "--smtp-password=x"}}, []string{"--smtp-username"}},
		{"smtp user alone", setting{flags: []string{"--notify=smtp", "--smtp-from=a@example.com", "--smtp-addr=h:25", "--smtp-username=x"}}, []string{"--smtp-password"}},
		{"smtp password readable", setting{flags: []string{
			"--notify=smtp", "--smtp-from=a@example.com", "--smtp-addr=mail.example.com:25", "--smtp-tls=none", "--smtp-username=x", "--smtp-password=y",
		}}, []string{"--smtp-tls", "readable"}},
		{"webhook without URL", setting{flags: []string{"--notify=webhook", "--webhook-secret=" + key1}}, []string{"--webhook-url"}},
		{"webhook without key", setting{flags: []string{"--notify=webhook", "--webhook-url=http://h"}}, []string{"--webhook-secret"}},
		{"webhook URL", setting{flags: []string{"--webhook-url=ftp://h"}}, []string{"https://"}},
		{"webhook key", setting{flags: []string{"--webhook-secret=whsec_c2hvcnQ="}}, []string{"24 to 64 bytes"}},
		{"webhook key prefix", setting{flags: []string{"--webhook-secret=" + strings.TrimPrefix(key1, "whsec_")}}, []string{"whsec_"}},
		{"control characters", setting{env: []string{"OUTBOXD_DATA_DIR=/a\x00b"}}, []string{"control characters"}},
		{"masked value", setting{env: []string{"OUTBOXD_REDIS_URL=redis://:********@h"}}, []string{"masked"}},

		{"variable misspelt", setting{env: []string{"OUTBOXD_RELAY_CONCURENCY=1"}}, []string{"OUTBOXD_RELAY_CONCURENCY", "Did you mean relay.concurrency (--relay-concurrency, OUTBOXD_RELAY_CONCURRENCY)?"}},
		{"variable unlike any", setting{env: []string{"OUTBOXD_FOOBARBAZ=1"}}, []string{"OUTBOXD_FOOBARBAZ", "no such variable"}},
		{"variable that looks like Kubernetes's", setting{env: []string{"OUTBOXD_API_PORT=80"}}, []string{"OUTBOXD_API_PORT"}},
		{"key misspelt", setting{file: "relay:\n  concurency: 3\n"}, []string{"relay.concurency", "outboxd.yaml:2", "Did you mean relay.concurrency ("}},
		{"key with hyphen", setting{file: "relay: {batch-size: 3}"}, []string{"Did you mean relay.batch_size ("}},
		{"key without section", setting{file: "concurrency: 3"}, []string{"relay.concurrency (", "worker.concurrency ("}},
		{"key in the wrong section", setting{file: "log: {roles: all}"}, []string{"log.roles", "no section"}},
		{"section misspelt", setting{file: "databse: {url: x}"}, []string{"databse", "section database"}},
		{"section with a value", setting{file: "relay: 3"}, []string{"relay", "is a section"}},
		{"value with a section", setting{file: "notify: {a: b}"}, []string{"single value"}},
		{"list for a value", setting{file: "log: {level: [info]}"}, []string{"single value"}},
		{"map in a list", setting{file: "roles: [{a: b}]"}, []string{"a list"}},
		{"map in a map", setting{file: "worker: {queues: {a: {b: c}}}"}, []string{"a map of names and weights"}},
		{"key twice", setting{file: "log:\n  level: info\n  level: debug\n"}, []string{"line 2", "outboxd.yaml:3"}},
		{"section twice", setting{file: "log: {level: info}\nlog: {format: json}\n"}, []string{"line 1"}},
		{"no YAML", setting{file: "a: [\n"}, []string{"YAML", "--config"}},
		{"no map", setting{file: "- a\n"}, []string{"keys and values"}},
		{"two documents", setting{file: "roles: all\n---\nroles: api\n"}, []string{"one YAML document"}},
		{"file missing", setting{flags: []string{"--config=nowhere.yaml"}}, []string{"--config", "OUTBOXD_CONFIG", "nowhere.yaml", "flag --config"}},
		{"file missing by variable", setting{env: []string{"OUTBOXD_CONFIG=/nowhere/x.yaml"}}, []string{"/nowhere/x.yaml", "environment OUTBOXD_CONFIG"}},
		{"file is a folder", setting{flags: []string{"--config=."}}, []string{"directory"}},
		{"file too large", setting{file: "#" + strings.Repeat("x", 1<<20)}, []string{"has more than 1048576 bytes"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c, err := test.set.load(t)
			var faults config.Faults
			if !errors.As(err, &faults) || c != nil {
				t.Fatalf("want faults, got %v, %v", c, err)
			}
			if len(faults) != 1 {
				t.Errorf("want one fault, got %d", len(faults))
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in:\n%v", want, err)
				}
			}
		})
	}
}

// Settings that resemble those of TestFaults load without a fault.
func TestNoFault(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]setting{
		"open monitor with token":     {flags: []string{"--monitor-addr=:8081", "--admin-token=sixteen-bytes-ok"}},
		"probes of a relay":           {flags: []string{"--monitor-addr=:8081", "--probe-addr=:8082", "--roles=relay"}},
		"probes, pages on loopback":   {flags: []string{"--probe-addr=:8082"}},
		"no monitor":                  {flags: []string{"--monitor-addr="}},
		"loopback in IPv4":            {flags: []string{"--monitor-addr=127.8.8.8:1"}},
		"loopback mapped to IPv6":     {flags: []string{"--monitor-addr=[::ffff:127.0.0.1]:1"}},
		"token counted in bytes":      {env: []string{"OUTBOXD_ADMIN_TOKEN=éééééééé"}},
		"secret with newline":         {env: []string{"OUTBOXD_ADMIN_TOKEN=sixteen-bytes-ok\n"}},
		"inbox as long as history":    {flags: []string{"--relay-inbox-retention=168h"}},
		"backoff constant":            {flags: []string{"--relay-backoff-base=10m"}},
		"just enough connections":     {flags: []string{"--database-max-conns=26"}},
		"tasks share connections":     {flags: []string{"--database-max-conns=26", "--worker-concurrency=300"}},
		"fewer without the worker":    {flags: []string{"--database-max-conns=6", "--roles=relay"}},
		"no notify without worker":    {flags: []string{"--database-url=postgres://h/d", "--roles=api,relay,monitor"}},
		"smtp without worker":         {flags: []string{"--notify=smtp", "--roles=api"}},
		"webhook without worker":      {flags: []string{"--notify=webhook", "--roles=api"}},
		"smtp readable, same machine": {flags: []string{"--notify=smtp", "--smtp-from=a@example.com", "--smtp-addr=127.0.0.1:25", "--smtp-tls=none", "--smtp-username=x", "--smtp-password=y"}},
		"Redis only":                  {env: []string{"REDIS_URL=redis://h"}},
		"PostgreSQL only":             {env: []string{"DATABASE_URL=postgres:///d?host=/run", "OUTBOXD_NOTIFY=log"}},
		"PostgreSQL by IPv6":          {env: []string{"DATABASE_URL=postgres://u:p@[::1]:5432,[::2]/d", "OUTBOXD_NOTIFY=log"}},
		"sentinels with a database":   {env: []string{"REDIS_URL=rediss-sentinel://u:pw@h1:26379,h2:26379/3?master=m"}},
		"a cluster":                   {env: []string{"REDIS_URL=redis-cluster://u:pw@h1:6379,h2:6379,h3"}, flags: []string{"--redis-username=v", "--redis-password-file=/p"}},
		"several sentinels":           {env: []string{"REDIS_URL=redis-sentinel://:pw@h1:26379,h2:26379?master=m"}},
		"; in a quoted value":         {env: []string{`DATABASE_URL=host=h options='-c a.b=c;d=e' password=a;b=c`, "OUTBOXD_NOTIFY=log"}},
		"parameters":                  {env: []string{"DATABASE_URL=postgres://u@h/d?sslmode=disable&app.tenant=a%40b&password=a@b", "OUTBOXD_NOTIFY=log"}},
		"quoted pairs":                {env: []string{`DATABASE_URL=host = h password='a b\' c=d' dbname=x`, "OUTBOXD_NOTIFY=log"}},
		"Kubernetes's variables": {env: []string{
			"OUTBOXD_SERVICE_HOST=10.0.0.1", "OUTBOXD_SERVICE_PORT=80", "OUTBOXD_API_SERVICE_PORT_HTTP=80",
			"OUTBOXD_PORT=tcp://10.0.0.1:80", "OUTBOXD_API_PORT_80_TCP_ADDR=10.0.0.1", "OUTBOXD_PORT_80_TCP=tcp://10.0.0.1:80",
		}},
		"others' variables": {env: []string{"HOME=/root", "OUTBOX=1", "PATH", ""}},
		"no password file":  {env: []string{"PGPASSFILE=/dev/null", "DATABASE_URL=postgres://h/d?passfile=/dev/null&sslcert=/nowhere", "OUTBOXD_NOTIFY=log"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set.mustLoad(t)
		})
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	_, err := setting{
		file:  "relay: {concurency: 1, batch_size: x}\nlgo: {level: info}\nlog: {level: loud}\n",
		env:   []string{"OUTBOXD_NOTFIY=log", "OUTBOXD_SMTP_TIMEOUT=1", "DATABASE_URL=mysql://h/d"},
		flags: []string{"--roles=api,bpi", "--monitor-addr=:1", "--relay-history=1000h"},
	}.load(t)
	var faults config.Faults
	if !errors.As(err, &faults) {
		t.Fatalf("want faults, got %v", err)
	}
	for _, want := range []string{
		"relay.concurency", "relay.batch_size", "lgo", "log.level", "OUTBOXD_NOTFIY", "smtp.timeout", "database.url", "roles", "monitor.addr", "relay.inbox_retention",
	} {
		found := 0
		for _, fault := range faults {
			if fault.Key == want || fault.Key == "" && fault.Variable == want {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%d faults for %s, want 1", found, want)
		}
	}
	if len(faults) != 10 {
		t.Errorf("%d faults, want 10:\n%v", len(faults), err)
	}
	if lines := strings.Count(err.Error(), "\n"); lines != len(faults) {
		t.Errorf("%d lines below the first for %d faults", lines, len(faults))
	}
	if _, ok := errors.AsType[config.Fault](err); !ok {
		t.Error("the faults cannot be had one by one")
	}
}

// A wrong value is no fault if a stronger source overrides it.
func TestOverriddenValueIsNoFault(t *testing.T) {
	t.Parallel()
	c := setting{file: "relay: {concurrency: many}", env: []string{"OUTBOXD_RELAY_CONCURRENCY=none"}, flags: []string{"--relay-concurrency=3"}}.mustLoad(t)
	if c.Relay.Concurrency != 3 {
		t.Errorf("concurrency is %d", c.Relay.Concurrency)
	}
}
