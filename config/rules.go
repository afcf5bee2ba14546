package config

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"outboxd/config/address"
	"outboxd/config/value"
	"outboxd/config/words"
)

// A rule compares several options. A problem that a rule finds is reported for the first
// key of the rule.
type rule struct {
	keys    []string
	problem func() string // "": no problem
}

func (l *loading) rules() []rule {
	return slices.Concat(l.accessRules(), l.relayRules(), l.databaseRules(), l.redisRules(), l.exampleRules())
}

// problemIf returns the text of the problem if broken is true, and "" (no problem) if not.
func problemIf(broken bool, problem string) string {
	if broken {
		return problem
	}
	return ""
}

// name returns the name under which an error message recommends another option.
func (l *loading) name(key string) string { return l.byKey[key].names() }

// accessRules are the rules about who may reach the pages, and who may sign in.
func (l *loading) accessRules() []rule {
	c := l.config
	name := l.name
	return []rule{
		{[]string{"monitor.addr", "admin_token", "access.tokens", "access.identity_header", "oidc.issuer", "probe.addr"}, func() string {
			return problemIf(c.HasMonitorListener() && !address.IsLoopback(c.Monitor.Addr) && !c.HasSignIn(),
				fmt.Sprintf("%s can be reached from other machines, which needs a token: set %s or %s, or listen on 127.0.0.1%s", words.Quote(c.Monitor.Addr), name("admin_token"), name("access.tokens"), l.orProbe()))
		}},
		{[]string{"access.identity_header", "api.trusted_proxies"}, func() string {
			return problemIf(c.Access.IdentityHeader != "" && len(c.API.TrustedProxies) == 0, "anybody could send that header: say whose is believed with "+name("api.trusted_proxies"))
		}},
		{[]string{"access.tokens", "admin_token"}, func() string {
			shared := sha256.Sum256([]byte(c.AdminToken))
			known := slices.ContainsFunc(c.Access.Tokens, func(t value.Token) bool { return t.Digest == shared })
			return problemIf(known, fmt.Sprintf("one of these is the token of %s too, so whoever signs in with it is an admin without a name: make a token of its own for each", name("admin_token")))
		}},
		{[]string{"oidc.client_id", "oidc.issuer"}, func() string {
			return problemIf(c.OIDC.Issuer != "" && c.OIDC.ClientID == "", "the provider has to know who asks: give the ID that it has for outboxd, or unset "+name("oidc.issuer"))
		}},
		{[]string{"oidc.roles", "oidc.issuer"}, func() string {
			return problemIf(c.OIDC.Issuer != "" && len(c.OIDC.Roles) == 0, "nobody who signs in would have a role: give some, such as *=viewer, or unset "+name("oidc.issuer"))
		}},
	}
}

// leastHistory is the shortest history that is not 0. It equals the lower limit of relay.inbox_retention, which must
// not be shorter than the history.
const leastHistory = time.Minute

// relayRules are the rules about times of the relay.
func (l *loading) relayRules() []rule {
	c := l.config
	name := l.name
	notLonger := func(key string, is *time.Duration, bound string, most *time.Duration) rule {
		return rule{[]string{key, bound}, func() string {
			return problemIf(*is > *most, fmt.Sprintf("%s is longer than the %s of %s: shorten the one or lengthen the other",
				value.FormatDuration(*is), value.FormatDuration(*most), name(bound)))
		}}
	}
	return []rule{
		{[]string{"relay.inbox_retention", "relay.history"}, func() string {
			return problemIf(c.Relay.InboxRetention < c.Relay.History,
				fmt.Sprintf("%s is shorter than the %s of %s: an event sent again after that could take effect twice; lengthen the one or shorten the other",
					value.FormatDuration(c.Relay.InboxRetention), value.FormatDuration(c.Relay.History), name("relay.history")))
		}},
		{[]string{"relay.history"}, func() string {
			return problemIf(c.Relay.History > 0 && c.Relay.History < leastHistory,
				fmt.Sprintf("%s is too short to send again what Redis loses: give at least %s, or 0 to keep none",
					value.FormatDuration(c.Relay.History), value.FormatDuration(leastHistory)))
		}},
		notLonger("relay.backoff_base", &c.Relay.BackoffBase, "relay.backoff_max", &c.Relay.BackoffMax),
		notLonger("relay.poll_min", &c.Relay.PollMin, "relay.poll_interval", &c.Relay.PollInterval),
		notLonger("relay.poll_min", &c.Relay.PollMin, "relay.poll_without_listen", &c.Relay.PollWithoutListen),
	}
}

// databaseRules are the rules about which databases are used, and how.
func (l *loading) databaseRules() []rule {
	c := l.config
	name := l.name
	return []rule{
		{[]string{"databases", "database.url", "source"}, func() string {
			return problemIf(len(c.Databases) > 0 && c.Database.URL != "", "there are two answers to which databases to use: unset "+name("databases")+", or unset "+name("database.url"))
		}},
		{[]string{"databases", "database.password_file", "source"}, func() string {
			return problemIf(len(c.Databases) > 0 && c.Database.PasswordFile != "", "each of several databases has a password_file of its own: unset "+name("database.password_file"))
		}},
		{[]string{"databases", "database.read_url", "source"}, func() string {
			return problemIf(len(c.Databases) > 0 && c.Database.ReadURL != "", "each of several databases has a read_url of its own: unset "+name("database.read_url"))
		}},
		{[]string{"databases", "relay.listen_url", "source"}, func() string {
			return problemIf(len(c.Databases) > 0 && c.Relay.ListenURL != "", "each of several databases has a listen_url of its own: unset "+name("relay.listen_url"))
		}},
		{[]string{"databases", "roles", "source"}, func() string {
			return problemIf(len(c.Databases) > 0 && (c.HasRole(RoleAPI) || c.HasRole(RoleWorker)),
				fmt.Sprintf("the roles api and worker use one database: choose %s with %s, or give relay, monitor or both for %s", strings.Join(c.Databases.Names(), " or "), name("source"), name("roles")))
		}},
		{[]string{"relay.listen_url", "database.url", "databases"}, func() string {
			return problemIf(c.Relay.ListenURL != "" && c.Database.URL == "" && len(c.Databases) == 0,
				"it names the server of a database that outboxd would run itself: set "+name("database.url")+" too, or neither")
		}},
		{[]string{"database.read_url", "database.url", "databases"}, func() string {
			return problemIf(c.Database.ReadURL != "" && c.Database.URL == "" && len(c.Databases) == 0,
				"it names the standby of "+name("database.url")+": set that too, or neither")
		}},
		{[]string{"database.password_file", "database.url", "databases"}, func() string {
			return problemIf(c.Database.PasswordFile != "" && c.Database.URL == "" && len(c.Databases) == 0, "outboxd's own server has no password: set "+name("database.url")+" too, or neither")
		}},
		{[]string{"database.max_conns", "roles", "relay.concurrency", "worker.concurrency"}, func() string {
			return problemIf(c.Database.MaxConns > 0 && c.Database.MaxConns < c.MinConns(), l.tooFewConns())
		}},
	}
}

// redisRules are the rules about Redis.
func (l *loading) redisRules() []rule {
	c := l.config
	name := l.name
	return []rule{
		{[]string{"redis.password_file", "redis.url"}, func() string {
			return problemIf(c.Redis.PasswordFile != "" && c.Redis.URL == "", "outboxd's own Redis has no password: set "+name("redis.url")+" too, or neither")
		}},
		{[]string{"redis.sentinel_username", "redis.sentinel_password", "redis.sentinel_password_file"}, func() string {
			return problemIf(c.Redis.SentinelUsername != "" && c.Redis.SentinelPassword == "" && c.Redis.SentinelPasswordFile == "",
				"there is a user name and no password: set "+name("redis.sentinel_password")+" or "+name("redis.sentinel_password_file")+" too")
		}},
		{[]string{"redis.tls_key", "redis.tls_cert"}, func() string {
			return problemIf(c.Redis.TLSKey != "" && c.Redis.TLSCert == "", "there is no certificate for it: set "+name("redis.tls_cert")+" too, or neither")
		}},
		{[]string{"redis.tls_ca", "redis.tls_cert", "redis.tls_server_name", "redis.url"}, func() string {
			uses := c.Redis.TLSCA != "" || c.Redis.TLSCert != "" || c.Redis.TLSServerName != ""
			return problemIf(uses && !strings.HasPrefix(string(c.Redis.URL), "rediss"), "TLS is off: write "+name("redis.url")+" with rediss, rediss-sentinel or rediss-cluster before the ://")
		}},
	}
}

// exampleRules are the rules about the example's notifications.
func (l *loading) exampleRules() []rule {
	c := l.config
	name := l.name
	sends := c.HasRole(RoleWorker) && c.RunsExample()
	smtp, webhook := sends && c.Notify == NotifySMTP, sends && c.Notify == NotifyWebhook
	return []rule{
		{[]string{"notify", "example", "roles", "database.url"}, func() string {
			return problemIf(sends && c.Notify == "" && c.Database.URL != "",
				"the worker must know how to send the example's notifications: give log, smtp or webhook, or leave worker or api out of "+name("roles"))
		}},
		{[]string{"smtp.addr", "notify", "example", "roles"}, func() string {
			return problemIf(smtp && c.SMTP.Addr == "", "notify=smtp needs the mail server: give host:port, or change "+name("notify"))
		}},
		{[]string{"smtp.from", "notify", "example", "roles"}, func() string {
			return problemIf(smtp && c.SMTP.From == "", "notify=smtp needs a sender: give a mail address, or change "+name("notify"))
		}},
		{[]string{"smtp.username", "smtp.password", "notify", "example", "roles"}, func() string {
			return problemIf(smtp && c.SMTP.Username == "" && c.SMTP.Password != "", "there is a password and no user name: give one, or unset "+name("smtp.password"))
		}},
		{[]string{"smtp.password", "smtp.username", "notify", "example", "roles"}, func() string {
			return problemIf(smtp && c.SMTP.Username != "" && c.SMTP.Password == "", "there is a user name and no password: give one, or unset "+name("smtp.username"))
		}},
		{[]string{"smtp.tls", "smtp.addr", "smtp.password", "notify", "example", "roles"}, func() string {
			return problemIf(smtp && c.SMTP.TLS == SMTPPlain && c.SMTP.Password != "" && c.SMTP.Addr != "" && !address.IsLoopback(c.SMTP.Addr),
				"the password would cross the network readable: give starttls or tls, or unset "+name("smtp.password"))
		}},
		{[]string{"webhook.url", "notify", "example", "roles"}, func() string {
			return problemIf(webhook && c.Webhook.URL == "", "notify=webhook needs a URL that begins with http:// or https://: give one, or change "+name("notify"))
		}},
		{[]string{"webhook.secret", "notify", "example", "roles"}, func() string {
			return problemIf(webhook && c.Webhook.Secret == "", "notify=webhook needs a signing key: give whsec_ and 24 to 64 bytes in base64, or change "+name("notify"))
		}},
	}
}

// orProbe returns the end of an error message. The end of the message names the option
// that serves the probes at an address of their own, so that other machines reach the
// probes but not the pages. orProbe returns "" if that option would not help.
func (l *loading) orProbe() string {
	if l.config.Probe.Addr != "" || l.config.HasRole(RoleMonitor) {
		return ""
	}
	return ", or give the probes an address of their own with " + l.name("probe.addr")
}

func (l *loading) tooFewConns() string {
	c, name := l.config, l.name
	var uses, others []string
	for _, p := range c.parts(c.leastForTasks()) {
		uses = append(uses, fmt.Sprintf("%d for %s", p.conns, p.use))
	}
	if c.HasRole(RoleRelay) {
		others = append(others, name("relay.concurrency"))
	}
	if c.HasRole(RoleWorker) && c.leastForTasks() > leastTaskConns {
		others = append(others, name("worker.concurrency"))
	}
	problem := fmt.Sprintf("%d connections are too few: give 0 or at least %d (%s)", c.Database.MaxConns, c.MinConns(), strings.Join(uses, ", "))
	if len(others) > 0 {
		problem += ", or lower " + strings.Join(others, " or ")
	}
	return problem
}
