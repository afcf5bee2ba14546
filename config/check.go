package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"strings"

	"github.com/go-playground/validator/v10"

	"outboxd/config/address"
	"outboxd/config/value"
	"outboxd/config/words"
)

const minToken = 16 // bytes

// check records a fault for each wrong value, of the values that could be read.
func (l *loading) check() {
	validate := validator.New(validator.WithRequiredStructEnabled())
	for _, o := range l.options {
		if err := o.checkValue(validate); err != nil && !l.broken[o.key] {
			l.broken[o.key] = true
			l.fault(o.key, err.Error())
		}
	}
	for _, rule := range l.rules() {
		if l.intact(rule.keys) {
			if problem := rule.problem(); problem != "" {
				l.fault(rule.keys[0], problem)
			}
		}
	}
}

// checkValue checks one value alone. The rules compare several values with each other.
func (o *option) checkValue(validate *validator.Validate) error {
	field := reflect.ValueOf(o.field).Elem()
	if o.optional && field.IsZero() {
		return nil
	}
	if rule := o.rule(); rule != "" && validate.Var(field.Interface(), rule) != nil {
		return fmt.Errorf("%s is not allowed: give %s", words.Quote(value.Format(o.field)), o.limits())
	}
	if o.check != nil {
		return o.check(field.String())
	}
	return nil
}

// intact reports whether the values of all given keys could be read. Only then can a
// rule compare them.
func (l *loading) intact(keys []string) bool {
	for _, key := range keys {
		if l.broken[key] {
			return false
		}
	}
	return true
}

// A rule compares several options. A problem that a rule finds is reported for the first
// key of the rule.
type rule struct {
	keys    []string
	problem func() string // "": no problem
}

func (l *loading) rules() []rule {
	c := l.config
	// name returns the name under which an error message recommends another option.
	name := func(key string) string { return l.byKey[key].names() }
	only := func(broken bool, problem string) string {
		if broken {
			return problem
		}
		return ""
	}
	sends := c.HasRole(RoleWorker) && c.RunsExample()
	smtp, webhook := sends && c.Notify == NotifySMTP, sends && c.Notify == NotifyWebhook
	return []rule{
		{[]string{"monitor.addr", "admin_token", "access.tokens", "access.identity_header", "oidc.issuer", "probe.addr"}, func() string {
			return only(c.HasMonitorListener() && !address.IsLoopback(c.Monitor.Addr) && !c.HasSignIn(),
				fmt.Sprintf("%s can be reached from other machines, which needs a token: set %s or %s, or listen on 127.0.0.1%s", words.Quote(c.Monitor.Addr), name("admin_token"), name("access.tokens"), l.orProbe(name)))
		}},
		{[]string{"access.identity_header", "api.trusted_proxies"}, func() string {
			return only(c.Access.IdentityHeader != "" && len(c.API.TrustedProxies) == 0, "anybody could send that header: say whose is believed with "+name("api.trusted_proxies"))
		}},
		{[]string{"oidc.client_id", "oidc.issuer"}, func() string {
			return only(c.OIDC.Issuer != "" && c.OIDC.ClientID == "", "the provider has to know who asks: give the ID that it has for outboxd, or unset "+name("oidc.issuer"))
		}},
		{[]string{"oidc.roles", "oidc.issuer"}, func() string {
			return only(c.OIDC.Issuer != "" && len(c.OIDC.Roles) == 0, "nobody who signs in would have a role: give some, such as *=viewer, or unset "+name("oidc.issuer"))
		}},
		{[]string{"relay.inbox_retention", "relay.history"}, func() string {
			return only(c.Relay.InboxRetention < c.Relay.History,
				fmt.Sprintf("%s is shorter than the %s of %s: an event sent again after that could take effect twice; lengthen the one or shorten the other",
					value.FormatDuration(c.Relay.InboxRetention), value.FormatDuration(c.Relay.History), name("relay.history")))
		}},
		{[]string{"relay.backoff_base", "relay.backoff_max"}, func() string {
			return only(c.Relay.BackoffBase > c.Relay.BackoffMax,
				fmt.Sprintf("%s is longer than the %s of %s: shorten the one or lengthen the other",
					value.FormatDuration(c.Relay.BackoffBase), value.FormatDuration(c.Relay.BackoffMax), name("relay.backoff_max")))
		}},
		{[]string{"relay.poll_min", "relay.poll_interval"}, func() string {
			return only(c.Relay.PollMin > c.Relay.PollInterval,
				fmt.Sprintf("%s is longer than the %s of %s: shorten the one or lengthen the other",
					value.FormatDuration(c.Relay.PollMin), value.FormatDuration(c.Relay.PollInterval), name("relay.poll_interval")))
		}},
		{[]string{"relay.poll_min", "relay.poll_without_listen"}, func() string {
			return only(c.Relay.PollMin > c.Relay.PollWithoutListen,
				fmt.Sprintf("%s is longer than the %s of %s: shorten the one or lengthen the other",
					value.FormatDuration(c.Relay.PollMin), value.FormatDuration(c.Relay.PollWithoutListen), name("relay.poll_without_listen")))
		}},
		{[]string{"databases", "database.url", "source"}, func() string {
			return only(len(c.Databases) > 0 && c.Database.URL != "", "there are two answers to which databases to use: unset "+name("databases")+", or unset "+name("database.url"))
		}},
		{[]string{"databases", "database.password_file", "source"}, func() string {
			return only(len(c.Databases) > 0 && c.Database.PasswordFile != "", "each of several databases has a password_file of its own: unset "+name("database.password_file"))
		}},
		{[]string{"databases", "database.read_url", "source"}, func() string {
			return only(len(c.Databases) > 0 && c.Database.ReadURL != "", "each of several databases has a read_url of its own: unset "+name("database.read_url"))
		}},
		{[]string{"databases", "relay.listen_url", "source"}, func() string {
			return only(len(c.Databases) > 0 && c.Relay.ListenURL != "", "each of several databases has a listen_url of its own: unset "+name("relay.listen_url"))
		}},
		{[]string{"databases", "roles", "source"}, func() string {
			return only(len(c.Databases) > 0 && (c.HasRole(RoleAPI) || c.HasRole(RoleWorker) || c.HasRole(RoleMonitor)),
				fmt.Sprintf("the roles api, worker and monitor use one database: choose %s with %s, or give relay for %s", strings.Join(c.Databases.Names(), " or "), name("source"), name("roles")))
		}},
		{[]string{"relay.listen_url", "database.url", "databases"}, func() string {
			return only(c.Relay.ListenURL != "" && c.Database.URL == "" && len(c.Databases) == 0,
				"it names the server of a database that outboxd would run itself: set "+name("database.url")+" too, or neither")
		}},
		{[]string{"database.read_url", "database.url", "databases"}, func() string {
			return only(c.Database.ReadURL != "" && c.Database.URL == "" && len(c.Databases) == 0,
				"it names the standby of "+name("database.url")+": set that too, or neither")
		}},
		{[]string{"database.password_file", "database.url", "databases"}, func() string {
			return only(c.Database.PasswordFile != "" && c.Database.URL == "" && len(c.Databases) == 0, "outboxd's own server has no password: set "+name("database.url")+" too, or neither")
		}},
		{[]string{"redis.password_file", "redis.url"}, func() string {
			return only(c.Redis.PasswordFile != "" && c.Redis.URL == "", "outboxd's own Redis has no password: set "+name("redis.url")+" too, or neither")
		}},
		{[]string{"redis.sentinel_username", "redis.sentinel_password", "redis.sentinel_password_file"}, func() string {
			return only(c.Redis.SentinelUsername != "" && c.Redis.SentinelPassword == "" && c.Redis.SentinelPasswordFile == "",
				"there is a user name and no password: set "+name("redis.sentinel_password")+" or "+name("redis.sentinel_password_file")+" too")
		}},
		{[]string{"redis.tls_key", "redis.tls_cert"}, func() string {
			return only(c.Redis.TLSKey != "" && c.Redis.TLSCert == "", "there is no certificate for it: set "+name("redis.tls_cert")+" too, or neither")
		}},
		{[]string{"redis.tls_ca", "redis.tls_cert", "redis.tls_server_name", "redis.url"}, func() string {
			uses := c.Redis.TLSCA != "" || c.Redis.TLSCert != "" || c.Redis.TLSServerName != ""
			return only(uses && !strings.HasPrefix(string(c.Redis.URL), "rediss"), "TLS is off: write "+name("redis.url")+" with rediss, rediss-sentinel or rediss-cluster before the ://")
		}},
		{[]string{"database.max_conns", "roles", "relay.concurrency", "worker.concurrency"}, func() string {
			return only(c.Database.MaxConns > 0 && c.Database.MaxConns < c.MinConns(), l.tooFewConns(name))
		}},
		{[]string{"notify", "example", "roles", "database.url"}, func() string {
			return only(sends && c.Notify == "" && c.Database.URL != "",
				"the worker must know how to send the example's notifications: give log, smtp or webhook, or leave worker or api out of "+name("roles"))
		}},
		{[]string{"smtp.addr", "notify", "example", "roles"}, func() string {
			return only(smtp && c.SMTP.Addr == "", "notify=smtp needs the mail server: give host:port, or change "+name("notify"))
		}},
		{[]string{"smtp.from", "notify", "example", "roles"}, func() string {
			return only(smtp && c.SMTP.From == "", "notify=smtp needs a sender: give a mail address, or change "+name("notify"))
		}},
		{[]string{"smtp.username", "smtp.password", "notify", "example", "roles"}, func() string {
			return only(smtp && c.SMTP.Username == "" && c.SMTP.Password != "", "there is a password and no user name: give one, or unset "+name("smtp.password"))
		}},
		{[]string{"smtp.password", "smtp.username", "notify", "example", "roles"}, func() string {
			return only(smtp && c.SMTP.Username != "" && c.SMTP.Password == "", "there is a user name and no password: give one, or unset "+name("smtp.username"))
		}},
		{[]string{"smtp.tls", "smtp.addr", "smtp.password", "notify", "example", "roles"}, func() string {
			return only(smtp && c.SMTP.TLS == SMTPPlain && c.SMTP.Password != "" && c.SMTP.Addr != "" && !address.IsLoopback(c.SMTP.Addr),
				"the password would cross the network readable: give starttls or tls, or unset "+name("smtp.password"))
		}},
		{[]string{"webhook.url", "notify", "example", "roles"}, func() string {
			return only(webhook && c.Webhook.URL == "", "notify=webhook needs a URL that begins with http:// or https://: give one, or change "+name("notify"))
		}},
		{[]string{"webhook.secret", "notify", "example", "roles"}, func() string {
			return only(webhook && c.Webhook.Secret == "", "notify=webhook needs a signing key: give whsec_ and 24 to 64 bytes in base64, or change "+name("notify"))
		}},
	}
}

// orProbe returns the end of an error message. The end of the message names the option
// that serves the probes at an address of their own, so that other machines reach the
// probes but not the pages. orProbe returns "" if that option would not help.
func (l *loading) orProbe(name func(string) string) string {
	if l.config.Probe.Addr != "" || l.config.HasRole(RoleMonitor) {
		return ""
	}
	return ", or give the probes an address of their own with " + name("probe.addr")
}

func (l *loading) tooFewConns(name func(string) string) string {
	c := l.config
	var uses, others []string
	if c.HasRole(RoleRelay) {
		uses = append(uses, fmt.Sprintf("%d for the pollers", c.Relay.Concurrency))
		others = append(others, name("relay.concurrency"))
	}
	if c.HasRole(RoleWorker) {
		uses = append(uses, fmt.Sprintf("%d for the tasks", c.leastForTasks()))
		if c.Worker.Concurrency > 0 {
			others = append(others, name("worker.concurrency"))
		}
	}
	uses = append(uses, fmt.Sprintf("%d for everything else", baseConns))
	problem := fmt.Sprintf("%d connections are too few: give 0 or at least %d (%s)", c.Database.MaxConns, c.MinConns(), strings.Join(uses, ", "))
	if len(others) > 0 {
		problem += ", or lower " + strings.Join(others, " or ")
	}
	return problem
}

// plainIdentifier allows 50 of PostgreSQL's 63 bytes, so that a suffix still fits after
// the schema's name.
var plainIdentifier = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,49}$`)

func checkSchema(text string) error {
	if !plainIdentifier.MatchString(text) || strings.HasPrefix(text, "pg_") || text == "information_schema" {
		return fmt.Errorf("%s must be up to 50 lower-case letters, digits and _, not begin with a digit or pg_, and not be information_schema", words.Quote(text))
	}
	return nil
}

func checkTraceURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || !strings.Contains(text, "{trace_id}") {
		return fmt.Errorf("%s must begin with http:// or https:// and contain {trace_id}", words.Quote(text))
	}
	return nil
}

// headerName is a token of RFC 9110.
var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")

func checkHeaderName(text string) error {
	if !headerName.MatchString(text) {
		return fmt.Errorf("%s is no name of a header", words.Quote(text))
	}
	return nil
}

// checkIssuer refuses an OpenID provider without TLS, unless the provider is on this
// machine: whoever can change the provider's answers decides who signs in.
func checkIssuer(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" ||
		u.Scheme != "https" && (u.Scheme != "http" || !address.IsLoopback(u.Host)) {
		return fmt.Errorf("%s must begin with https://, or with http:// on this machine, and have no query", words.Quote(text))
	}
	return nil
}

func checkRedirectURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || !strings.HasSuffix(u.Path, "/callback") {
		return fmt.Errorf("%s must begin with http:// or https:// and end with /callback", words.Quote(text))
	}
	return nil
}

func checkToken(text string) error {
	if len(text) < minToken {
		return fmt.Errorf("the token has %d bytes: give at least %d, such as the output of: openssl rand -hex 32", len(text), minToken)
	}
	return nil
}

func checkWebhookSecret(text string) error {
	problem := errors.New("the signing key must be whsec_ and then 24 to 64 bytes in base64, such as whsec_$(openssl rand -base64 32)")
	encoded, found := strings.CutPrefix(text, "whsec_")
	if !found {
		return problem
	}
	if key, err := base64.StdEncoding.DecodeString(encoded); err != nil || len(key) < 24 || len(key) > 64 {
		return problem
	}
	return nil
}
