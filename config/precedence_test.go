package config_test

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"outboxd/config"
	"outboxd/config/value"
)

// layered is an option with a value for each layer, from the weakest to the
// strongest: file, environment, flag.
type layered struct {
	key   string
	texts [3]string
	want  [3]any
	with  []string // further variables that the values need
}

const (
	key1 = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
	key2 = "whsec_MTEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
	key3 = "whsec_MjEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
)

func texts(key string, values ...string) layered {
	l := layered{key: key}
	for i, value := range values {
		l.texts[i], l.want[i] = value, value
	}
	return l
}

func numbers(key string) layered {
	return layered{key: key, texts: [3]string{"31", "32", "33"}, want: [3]any{31, 32, 33}}
}

func durations(key string) layered {
	return layered{key: key, texts: [3]string{"401s", "402s", "403s"}, want: [3]any{401 * time.Second, 402 * time.Second, 403 * time.Second}}
}

func secrets(key string, values ...string) layered {
	l := texts(key, values...)
	for i, text := range values {
		l.want[i] = value.Secret(text)
	}
	return l
}

func urls(key string, values ...string) layered {
	l := texts(key, values...)
	for i, text := range values {
		l.want[i] = value.SecretURL(text)
	}
	return l
}

func (l layered) needs(variables ...string) layered {
	l.with = variables
	return l
}

// zeros is a digest.
var zeros = strings.Repeat("0", 64)

func layeredOptions() []layered {
	network := func(text string) value.Networks { return value.Networks{netip.MustParsePrefix(text)} }
	return []layered{
		{key: "roles", texts: [3]string{"api", "relay,api", "all"}, want: [3]any{
			config.Roles{config.RoleAPI}, config.Roles{config.RoleAPI, config.RoleRelay}, config.AllRoles(),
		}},
		texts("data_dir", "/a", "/b", "/c"),
		texts("migrate", "off", "auto", "off"),
		durations("shutdown_timeout"),
		secrets("admin_token", "first-token-of-16", "second-token-of-16", "third-token-of-16"),
		{key: "databases", with: []string{"OUTBOXD_ROLES=relay"}, texts: [3]string{"a=postgres://h/a", "b=postgres://h/b", "c=postgres://h/c"}, want: [3]any{
			value.Sources{{Name: "a", URL: "postgres://h/a"}}, value.Sources{{Name: "b", URL: "postgres://h/b"}}, value.Sources{{Name: "c", URL: "postgres://h/c"}},
		}},
		texts("example", "on", "auto", "on"),
		texts("notify", "smtp", "webhook", "log").needs("OUTBOXD_ROLES=api"),
		texts("api.addr", "127.0.0.1:1", "127.0.0.1:2", ":0"),
		numbers("api.rate_limit"),
		{key: "api.trusted_proxies", texts: [3]string{"10.0.0.0/8", "192.0.2.1", "2001:db8::/32"}, want: [3]any{
			network("10.0.0.0/8"), network("192.0.2.1/32"), network("2001:db8::/32"),
		}},
		{key: "api.body_limit", texts: [3]string{"2048", "4KiB", "1 MiB"}, want: [3]any{value.Size(2048), value.Size(4096), value.Size(1 << 20)}},
		numbers("api.hash_concurrency"),
		durations("api.idempotency_retention"),
		texts("monitor.addr", "127.0.0.1:1", "localhost:2", "[::1]:3"),
		{key: "access.tokens", texts: [3]string{"ada=admin:sha256:" + zeros, "b=viewer:sha256:" + zeros, "c=operator:sha256:" + zeros}, want: [3]any{
			value.Tokens{{Name: "ada", Role: "admin"}}, value.Tokens{{Name: "b", Role: "viewer"}}, value.Tokens{{Name: "c", Role: "operator"}},
		}},
		texts("access.identity_header", "X-A", "X-B", "X-C").needs("OUTBOXD_API_TRUSTED_PROXIES=10.0.0.1"),
		texts("access.identity_role", "operator", "admin", "operator"),
		texts("oidc.issuer", "https://a.example.com", "http://localhost:1/b", "https://c.example.com").needs("OUTBOXD_OIDC_CLIENT_ID=o", "OUTBOXD_OIDC_ROLES=*=viewer"),
		texts("oidc.client_id", "a", "b", "c"),
		secrets("oidc.client_secret", "a", "b", "c"),
		texts("oidc.redirect_url", "https://a.example.com/callback", "http://b.example.com/x/callback", "https://c.example.com/callback"),
		{key: "oidc.scopes", texts: [3]string{"a", "b, c", "d,d,"}, want: [3]any{value.Names{"a"}, value.Names{"b", "c"}, value.Names{"d"}}},
		texts("oidc.name_claim", "a", "b", "c"),
		texts("oidc.role_claim", "a", "b.c", "d"),
		{key: "oidc.roles", texts: [3]string{"a=admin", "b=viewer,*=operator", "cn=c=admin"}, want: [3]any{
			value.Grants{"a": "admin"}, value.Grants{"b": "viewer", "*": "operator"}, value.Grants{"cn=c": "admin"},
		}},
		texts("probe.addr", "127.0.0.1:1", ":2", "[::]:3"),
		{key: "monitor.mask", texts: [3]string{"a", "b, c", "d,d,"}, want: [3]any{value.Names{"a"}, value.Names{"b", "c"}, value.Names{"d"}}},
		urls("monitor.trace_url", "https://a/{trace_id}", "http://b/{trace_id}/x", "https://c?t={trace_id}"),
		urls("database.url", "postgres://a@h/1", "host=h dbname=2", "postgresql://a:b@h1:1,h2/3").needs("OUTBOXD_NOTIFY=log"),
		texts("database.password_file", "/a", "/b", "/c").needs("OUTBOXD_DATABASE_URL=postgres://h/0", "OUTBOXD_NOTIFY=log"),
		texts("database.schema", "one", "two", "three"),
		numbers("database.max_conns"),
		texts("database.exec_mode", "exec", "cache_describe", "simple_protocol"),
		durations("database.connect_timeout"),
		urls("redis.url", "redis://h:1/0", "redis-socket:///run/redis.sock?db=1", "rediss://:pw@h"),
		texts("redis.username", "a", "b", "c"),
		texts("redis.password_file", "/a", "/b", "/c").needs("OUTBOXD_REDIS_URL=redis://h"),
		texts("redis.sentinel_username", "a", "b", "c").needs("OUTBOXD_REDIS_SENTINEL_PASSWORD=p"),
		secrets("redis.sentinel_password", "a", "b", "c"),
		texts("redis.sentinel_password_file", "/a", "/b", "/c"),
		texts("redis.tls_ca", "/a", "/b", "/c").needs("OUTBOXD_REDIS_URL=rediss://h"),
		texts("redis.tls_cert", "/a", "/b", "/c").needs("OUTBOXD_REDIS_URL=rediss://h"),
		texts("redis.tls_key", "/a", "/b", "/c").needs("OUTBOXD_REDIS_URL=rediss://h", "OUTBOXD_REDIS_TLS_CERT=/c"),
		texts("redis.tls_server_name", "a", "b", "c").needs("OUTBOXD_REDIS_URL=rediss://h"),
		numbers("redis.wait_replicas"),
		durations("redis.check_interval"),
		texts("embedded.postgres_bin", "/a", "/b", "/c"),
		texts("embedded.redis_server", "/a", "/b", "/c"),
		numbers("relay.concurrency"),
		numbers("relay.batch_size"),
		numbers("relay.max_attempts"),
		durations("relay.poll_interval"),
		{key: "relay.poll_min", texts: [3]string{"1ms", "2ms", "3ms"}, want: [3]any{time.Millisecond, 2 * time.Millisecond, 3 * time.Millisecond}},
		durations("relay.poll_without_listen"),
		durations("relay.backoff_base"),
		durations("relay.backoff_max"),
		durations("relay.history"),
		{key: "relay.unconfirmed", texts: [3]string{"a:b", "c, d:e", "f,f,"}, want: [3]any{
			value.Names{"a:b"}, value.Names{"c", "d:e"}, value.Names{"f"},
		}},
		texts("relay.ordering", "skip", "block", "skip"),
		texts("relay.missing", "report", "resend", "report"),
		{key: "relay.max_queue", texts: [3]string{"a=1", "b=1000000,c=3", "d = 4 , e=5,"}, want: [3]any{
			value.Bounds{"a": 1}, value.Bounds{"b": 1_000_000, "c": 3}, value.Bounds{"d": 4, "e": 5},
		}},
		durations("relay.inbox_retention").needs("OUTBOXD_RELAY_HISTORY=1m"),
		{key: "relay.max_payload", texts: [3]string{"2048", "4KiB", "64 MiB"}, want: [3]any{value.Size(2048), value.Size(4096), value.Size(64 << 20)}},
		texts("relay.listen", "off", "on", "off"),
		urls("relay.listen_url", "postgres://h/1", "postgres://h/2", "postgres://h/3").needs("OUTBOXD_DATABASE_URL=postgres://h/0", "OUTBOXD_NOTIFY=log"),
		urls("database.read_url", "postgres://h/1", "postgres://h/2", "postgres://h/3").needs("OUTBOXD_DATABASE_URL=postgres://h/0", "OUTBOXD_NOTIFY=log"),
		numbers("worker.concurrency"),
		{key: "worker.queues", texts: [3]string{"A=1", "b=2,c=3", "d = 4 , e=5,"}, want: [3]any{
			value.Queues{"A": 1}, value.Queues{"b": 2, "c": 3}, value.Queues{"d": 4, "e": 5},
		}},
		{key: "worker.poll_interval", texts: [3]string{"1ms", "2ms", "3ms"}, want: [3]any{time.Millisecond, 2 * time.Millisecond, 3 * time.Millisecond}},
		{key: "deliver.allow", texts: [3]string{"10.0.0.0/8", "192.0.2.1", "2001:db8::/32"}, want: [3]any{
			network("10.0.0.0/8"), network("192.0.2.1/32"), network("2001:db8::/32"),
		}},
		{key: "deliver.proxy", texts: [3]string{"http://a:1", "http://b:2", "http://c:3"}, want: [3]any{
			value.SecretURL("http://a:1"), value.SecretURL("http://b:2"), value.SecretURL("http://c:3"),
		}},
		texts("deliver.source", "a", "b", "/c"),
		{key: "deliver.check_interval", texts: [3]string{"1s", "2s", "3s"}, want: [3]any{time.Second, 2 * time.Second, 3 * time.Second}},
		texts("smtp.addr", "a.example.com:25", "b.example.com:465", "[::1]:587"),
		texts("smtp.tls", "tls", "none", "tls"),
		texts("smtp.username", "a", "b", "c"),
		secrets("smtp.password", "a", "b", "c"),
		texts("smtp.from", "a@example.com", "B <b@example.com>", "c@example.com"),
		durations("smtp.timeout"),
		urls("webhook.url", "http://a.example.com", "https://u:p@b.example.com/x?y=z", "https://c.example.com"),
		secrets("webhook.secret", key1, key2, key3),
		durations("webhook.timeout"),
		texts("log.level", "debug", "warn", "error"),
		texts("log.format", "text", "json", "text"),
	}
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	for _, option := range layeredOptions() {
		t.Run(option.key, func(t *testing.T) {
			t.Parallel()
			s := setting{env: option.with}
			base := leaves(s.mustLoad(t))
			field := fieldOf(option.key)
			expect := func(layer string, want any) {
				t.Helper()
				c := s.mustLoad(t)
				for name, value := range leaves(c) {
					switch {
					case name == field && !reflect.DeepEqual(value, want):
						t.Errorf("with %s: %s is %#v, want %#v", layer, name, value, want)
					case name == "Notify" && field == "Database.URL":
						// The default of Notify depends on the database's URL; see
						// TestNotifyDefault.
					case name != field && !reflect.DeepEqual(value, base[name]):
						t.Errorf("with %s: %s became %#v", layer, name, value)
					}
				}
				if !strings.Contains(effective(t, c), " # "+layer) {
					t.Errorf("with %s: the effective configuration does not name it:\n%s", layer, effective(t, c))
				}
			}
			section, name, found := strings.Cut(option.key, ".")
			s.file = option.key + ": \"" + option.texts[0] + "\"\n"
			if found {
				s.file = section + ":\n  " + name + ": \"" + option.texts[0] + "\"\n"
			}
			expect("file ", option.want[0])
			if alias := map[string]string{"database.url": "DATABASE_URL", "redis.url": "REDIS_URL"}[option.key]; alias != "" {
				s.env = append(s.env, alias+"="+option.texts[2])
				expect("environment "+alias, option.want[2])
			}
			s.env = append(s.env, variable(option.key)+"="+option.texts[1])
			expect("environment "+variable(option.key), option.want[1])
			s.flags = []string{"--" + flagName(option.key) + "=" + option.texts[2]}
			expect("flag --"+flagName(option.key), option.want[2])
		})
	}
}

// Every field of Config except Source has a row in layeredOptions.
func TestEveryFieldIsAnOption(t *testing.T) {
	t.Parallel()
	fields := leaves(config.Default())
	for _, option := range layeredOptions() {
		name := fieldOf(option.key)
		if _, found := fields[name]; !found {
			t.Errorf("%s has no field, or two rows", option.key)
		}
		delete(fields, name)
	}
	delete(fields, "Source") // Load resolves it: see TestDatabases
	for name := range fields {
		t.Errorf("the field %s is not tested", name)
	}
}

func variable(key string) string {
	return "OUTBOXD_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

func flagName(key string) string { return strings.NewReplacer(".", "-", "_", "-").Replace(key) }

// fieldOf returns the name of the field of Config for a key, or "" if there is none.
func fieldOf(key string) string {
	plain := strings.NewReplacer("_", "", ".", "").Replace(key)
	for name := range leaves(config.Default()) {
		if strings.EqualFold(strings.ReplaceAll(name, ".", ""), plain) {
			return name
		}
	}
	return ""
}

// leaves returns the values of the exported fields of a configuration and its sections, by name.
func leaves(c *config.Config) map[string]any {
	found := map[string]any{}
	var walk func(prefix string, v reflect.Value)
	walk = func(prefix string, v reflect.Value) {
		for i := range v.NumField() {
			field := v.Type().Field(i)
			switch {
			case !field.IsExported():
			case field.Type.Kind() == reflect.Struct:
				walk(prefix+field.Name+".", v.Field(i))
			default:
				found[prefix+field.Name] = v.Field(i).Interface()
			}
		}
	}
	walk("", reflect.ValueOf(c).Elem())
	return found
}

func TestNotifyDefault(t *testing.T) {
	t.Parallel()
	c := setting{env: []string{"DATABASE_URL=postgres://h/d", "OUTBOXD_ROLES=api,relay"}}.mustLoad(t)
	if c.Notify != "" {
		t.Errorf("notify is %q beside a database URL, want it empty", c.Notify)
	}
}

func TestEmptyVariables(t *testing.T) {
	t.Parallel()
	c := setting{
		file: "monitor: {addr: 127.0.0.1:9}\nrelay: {concurrency: 7}\nredis: {url: 'redis://h'}\ndatabase: {url: 'postgres://h/d'}\nnotify: log\n",
		env:  []string{"OUTBOXD_MONITOR_ADDR=", "OUTBOXD_RELAY_CONCURRENCY=", "OUTBOXD_REDIS_URL=", "DATABASE_URL="},
	}.mustLoad(t)
	if c.Monitor.Addr != "" {
		t.Errorf("an empty OUTBOXD_MONITOR_ADDR leaves %q", c.Monitor.Addr)
	}
	if c.Relay.Concurrency != 7 {
		t.Errorf("an empty OUTBOXD_RELAY_CONCURRENCY counts: %d", c.Relay.Concurrency)
	}
	if c.Redis.URL != "" {
		t.Error("an empty OUTBOXD_REDIS_URL leaves the file's URL")
	}
	if c.Database.URL == "" {
		t.Error("an empty DATABASE_URL, which is not outboxd's own, removes the file's URL")
	}
}
