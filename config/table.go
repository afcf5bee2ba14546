package config

import (
	"strconv"

	"outboxd/config/address"
	"outboxd/config/value"
)

// options returns the table of all options. Each entry points to its field of c. The
// order is that of the reference: first the options outside all sections, then section by
// section.
func (c *Config) options() []*option {
	var all []*option
	for _, section := range [][]*option{
		c.generalOptions(), c.API.options(), c.Monitor.options(), c.Access.options(), c.OIDC.options(), c.Probe.options(), c.Database.options(), c.Redis.options(),
		c.Embedded.options(), c.Relay.options(), c.Worker.options(), c.Deliver.options(), c.SMTP.options(), c.Webhook.options(), c.Log.options(),
	} {
		all = append(all, section...)
	}
	return all
}

func (c *Config) generalOptions() []*option {
	return []*option{
		{
			field: &c.Roles, key: "roles", value: "all",
			help: "What this process does: all, or some of api, relay, worker and monitor.",
		},
		{
			field: &c.DataDir, key: "data_dir", optional: true,
			help: "Folder of the servers that outboxd runs itself, and of the mails that notify=log writes. Empty means /var/lib/outboxd for root, and for other users outboxd in $XDG_DATA_HOME or ~/.local/share, or on macOS in ~/Library/Application Support.",
		},
		{
			field: &c.Migrate, key: "migrate", value: "auto", choices: []string{MigrateAuto, MigrateOff},
			help: "Whether to bring the database schema up to date at start. With off, run `outboxd migrate up` before a new version.",
		},
		{
			field: &c.ShutdownTimeout, key: "shutdown_timeout", value: "30s", min: "1s", max: "1h",
			help: "How long running requests, batches and tasks may take to finish after a signal to stop.",
		},
		{
			field: &c.AdminToken, key: "admin_token", optional: true, check: checkToken,
			help: "Token of at least 16 bytes. Whoever has it may change everything on the monitor's pages, and is recorded as \"admin token\". Prefer access.tokens or oidc.issuer, which name people. Without any way to sign in, the pages are read-only, and the monitor listens on loopback addresses only.",
		},
		{
			field: &c.Databases, key: "databases", optional: true,
			help: "Several databases that one process relays from or shows, in place of database.url, each with a name: orders=postgres://user@host/orders, with spaces between the entries. The flag may be repeated. In the file also as a map, whose values are URLs, or maps with url, password_file, listen_url and read_url; elsewhere these are orders.password_file=path, orders.listen_url=URL and orders.read_url=URL. Needs the roles relay and monitor alone, or source.",
		},
		{
			field: &c.Source, key: "source", optional: true,
			help: "Name of the one entry of databases that this process or command uses. Empty means all of them. The roles api and worker, and most commands, need one.",
		},
		{
			field: &c.Example, key: "example", value: ExampleAuto, choices: []string{ExampleAuto, ExampleOn},
			help: "Whether this process runs the example, user registration. It then makes the example's tables, in a schema named database.schema plus _example, and its worker sends the example's notifications. With auto, only a process with the role api runs it. With on, a worker without the API runs it too, and `outboxd migrate` also works on the example's tables.",
		},
		{
			field: &c.Notify, key: "notify", choices: []string{NotifyLog, NotifySMTP, NotifyWebhook}, optional: true,
			help: "How the worker sends the example's notifications. Empty means log when outboxd runs its own database. With a database URL, a worker that runs the example must choose one.",
		},
	}
}

func (c *API) options() []*option {
	return []*option{
		{
			field: &c.Addr, key: "api.addr", value: "127.0.0.1:5001", check: address.CheckListen,
			help: "Address of the HTTP API. Port 0 takes a free port.",
		},
		{
			field: &c.RateLimit, key: "api.rate_limit", value: "600", min: "0", max: "1000000",
			help: "Requests per minute that one client address may make. 0 means no limit.",
		},
		{
			field: &c.TrustedProxies, key: "api.trusted_proxies", optional: true,
			help: "Address ranges of the proxies whose X-Forwarded-For header is believed, such as 10.0.0.0/8. On the monitor's pages, access.identity_header is believed of them too.",
		},
		{
			field: &c.BodyLimit, key: "api.body_limit", value: "64KiB", min: "1024", max: "67108864",
			help: "Largest request body, in bytes or with the unit KiB or MiB.",
		},
		{
			field: &c.HashConcurrency, key: "api.hash_concurrency", value: "2", min: "1", max: "256",
			help: "Most passwords that are hashed at the same time. This bounds the memory that a burst of registrations takes.",
		},
		{
			field: &c.IdempotencyRetention, key: "api.idempotency_retention", value: "24h", min: "1m",
			help: "How long the answer to a request with an Idempotency-Key is kept. A repeated request gets the same answer. The processes with the role api delete older ones.",
		},
	}
}

func (c *Monitor) options() []*option {
	return []*option{
		{
			field: &c.Addr, key: "monitor.addr", value: "127.0.0.1:8081", optional: true, check: address.CheckListen,
			help: "Address of /healthz, /readyz and /metrics in every process, and of the pages of the role monitor. Empty means no listener. An address that other machines can reach needs a way to sign in (admin_token, access.tokens, access.identity_header or oidc.issuer), unless probe.addr is set and this process has no pages.",
		},
		{
			field: &c.Mask, key: "monitor.mask", value: "password,token,secret,authorization", optional: true,
			help: "Names of values that the pages hide. A payload key or header is hidden when its name contains one of these, in either case, at any depth. Empty hides nothing.",
		},
		{
			field: &c.TraceURL, key: "monitor.trace_url", optional: true, check: checkTraceURL,
			help: "Address of an event's trace, with {trace_id} for the ID, such as https://tempo.example.com/trace/{trace_id}. Empty means that the pages show the ID alone.",
		},
	}
}

func (c *Access) options() []*option {
	return []*option{
		{
			field: &c.Tokens, key: "access.tokens", optional: true,
			help: "Tokens of people for the monitor's pages, each as name=role:sha256:digest. `outboxd token new` makes one. The role is viewer, operator or admin. What people do is recorded with the name.",
		},
		{
			field: &c.IdentityHeader, key: "access.identity_header", optional: true, check: checkHeaderName,
			help: "Header in which a proxy names the person who has signed in there, such as X-Forwarded-User. It is believed only if the request comes from an address of api.trusted_proxies. The proxy has to remove the header from the requests of its clients.",
		},
		{
			field: &c.IdentityRole, key: "access.identity_role", value: "viewer", choices: value.AccessRoles,
			help: "Role of the people whom access.identity_header names.",
		},
	}
}

func (c *OIDC) options() []*option {
	return []*option{
		{
			field: &c.Issuer, key: "oidc.issuer", optional: true, check: checkIssuer,
			help: "Address of an OpenID provider, such as https://sso.example.com/realms/ops. People then sign in there. Empty means that they cannot.",
		},
		{
			field: &c.ClientID, key: "oidc.client_id", optional: true,
			help: "What the provider calls outboxd.",
		},
		{
			field: &c.ClientSecret, key: "oidc.client_secret", optional: true,
			help: "The provider's secret for outboxd. Empty means a public client, which only PKCE protects.",
		},
		{
			field: &c.RedirectURL, key: "oidc.redirect_url", optional: true, check: checkRedirectURL,
			help: "Address to which the provider sends people back: the address of the pages followed by callback, such as https://outboxd.example.com/callback. The provider has to know it. Empty means the address that the browser asked, which is right without a proxy that changes it.",
		},
		{
			field: &c.Scopes, key: "oidc.scopes", value: "openid,profile,email",
			help: "Scopes that are asked for. Some providers send groups only with a scope groups.",
		},
		{
			field: &c.NameClaim, key: "oidc.name_claim", value: "email",
			help: "Claim with the name that people are recorded with. With email, an address that the provider calls unverified is refused.",
		},
		{
			field: &c.RoleClaim, key: "oidc.role_claim", value: "groups",
			help: "Claim whose values decide the role. Dots lead into objects, such as realm_access.roles.",
		},
		{
			field: &c.Roles, key: "oidc.roles", optional: true,
			help: "Roles for values of oidc.role_claim, such as outbox-admins=admin,sre=operator,*=viewer. The highest counts; * stands for everybody who can sign in at the provider. Whoever gets no role is refused.",
		},
	}
}

func (c *Probe) options() []*option {
	return []*option{
		{
			field: &c.Addr, key: "probe.addr", optional: true, check: address.CheckListen,
			help: "Address of /healthz, /readyz and /metrics alone, which need no token, such as :8082. monitor.addr then has only the pages of the role monitor. Empty means that monitor.addr has all of it.",
		},
	}
}

func (c *Database) options() []*option {
	return []*option{
		{
			field: &c.URL, key: "database.url", optional: true, check: address.CheckPostgres, aliases: []string{"DATABASE_URL"},
			help: "PostgreSQL to use, as a URL or as key=value pairs. Empty means that outboxd runs its own. Prefer the variable or the file to the flag, which other users of the machine can see.",
		},
		{
			field: &c.ReadURL, key: "database.read_url", optional: true, check: address.CheckPostgres,
			help: "Standby of database.url, for what the pages and the commands list, search and draw. They say how far the standby lags, and read from database.url while the standby does not answer. Nothing that decides or changes something reads from the standby. Empty means database.url.",
		},
		{
			field: &c.PasswordFile, key: "database.password_file", optional: true,
			help: "File with the password, in place of the one in database.url, and for relay.listen_url and database.read_url if they have none. It is read for each new connection, so a new password needs no restart. So are the certificates and the passfile that the URL names.",
		},
		{
			field: &c.Schema, key: "database.schema", value: "outboxd", check: checkSchema,
			help: "Schema that holds everything of outboxd. It is created if it is missing. Each outboxd in one database needs a schema of its own.",
		},
		{
			field: &c.MaxConns, key: "database.max_conns", value: "0", min: "0", max: "10000",
			help: "Size of the pool of connections. 0 means the sum of: 4; one for each poller with the role relay; 8 for the API with the role api; with the role worker 8 for all deliveries, 2 for the record of failed tasks, and those of the tasks. The tasks have one connection each if a handler has a transaction for each event. Otherwise they share at most 8 connections for each processor (8 to 64). A number is refused that is below this sum, in which the tasks count as 2, or as worker.concurrency if that is set and a handler has a transaction for each event. A relay opens 2 more outside of the pool.",
		},
		{
			field: &c.ExecMode, key: "database.exec_mode", value: "cache_statement",
			choices: []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"},
			help:    "How statements are sent. Behind PgBouncer in transaction mode use cache_describe or exec, and set relay.listen_url.",
		},
		{
			field: &c.ConnectTimeout, key: "database.connect_timeout", value: "10s", min: "100ms", max: "10m",
			help: "How long one attempt to connect to PostgreSQL may take.",
		},
	}
}

func (c *Redis) options() []*option {
	return []*option{
		{
			field: &c.URL, key: "redis.url", optional: true, check: address.CheckRedis, aliases: []string{"REDIS_URL"},
			help: "Redis to use: a URL that begins with redis, redis-socket, redis-sentinel or redis-cluster, or with rediss, rediss-sentinel or rediss-cluster for TLS. Empty means that outboxd runs its own.",
		},
		{
			field: &c.Username, key: "redis.username", optional: true,
			help: "User name at Redis, in place of the one in redis.url.",
		},
		{
			field: &c.PasswordFile, key: "redis.password_file", optional: true,
			help: "File with the password at Redis, in place of the one in redis.url. It is read for each new connection, so a new password needs no restart.",
		},
		{
			field: &c.SentinelUsername, key: "redis.sentinel_username", optional: true,
			help: "User name at the Sentinels, with redis.sentinel_password or its file.",
		},
		{
			field: &c.SentinelPassword, key: "redis.sentinel_password", optional: true,
			help: "Password at the Sentinels. Without it and its file, Sentinels that ask for a password get the user and the password of Redis.",
		},
		{
			field: &c.SentinelPasswordFile, key: "redis.sentinel_password_file", optional: true,
			help: "File with the password at the Sentinels, in place of redis.sentinel_password. It is read for each new connection.",
		},
		{
			field: &c.TLSCA, key: "redis.tls_ca", optional: true,
			help: "File with the certificates, in PEM, that Redis's certificate must come from. Empty means those of the system. This and the next three need a URL that begins with rediss. The files are read for each new connection.",
		},
		{
			field: &c.TLSCert, key: "redis.tls_cert", optional: true,
			help: "File with outboxd's own certificate for Redis, in PEM. Empty means none.",
		},
		{
			field: &c.TLSKey, key: "redis.tls_key", optional: true,
			help: "File with the key of redis.tls_cert, in PEM. Empty means that the file of the certificate has it too.",
		},
		{
			field: &c.TLSServerName, key: "redis.tls_server_name", optional: true,
			help: "Name that Redis's certificate must have. Empty means the host of the address, which Sentinels and clusters often give as a number.",
		},
		{
			field: &c.WaitReplicas, key: "redis.wait_replicas", value: "0", min: "0", max: "100",
			help: "Replicas that must acknowledge a batch before its events count as handed over. If fewer do so within a second, relaying pauses and events wait in the outbox. 0 asks for none.",
		},
		{
			field: &c.CheckInterval, key: "redis.check_interval", value: "5s", min: "100ms", max: "1h",
			help: "How often the leader looks whether Redis has kept its data. It also looks after every outage. If Redis has lost data, the events that are not confirmed are sent again.",
		},
	}
}

func (c *Embedded) options() []*option {
	return []*option{
		{
			field: &c.PostgresBin, key: "embedded.postgres_bin", optional: true,
			help: "Folder with the programs postgres and initdb, for the PostgreSQL that outboxd runs itself. Empty means to search the usual places.",
		},
		{
			field: &c.RedisServer, key: "embedded.redis_server", optional: true,
			help: "The program redis-server or valkey-server, for the Redis that outboxd runs itself. Empty means to search the usual places.",
		},
	}
}

func (c *Relay) options() []*option {
	return []*option{
		{
			field: &c.Concurrency, key: "relay.concurrency", value: "2", min: "1", max: "256",
			help: "Pollers in this process, each with a database connection.",
		},
		{
			field: &c.BatchSize, key: "relay.batch_size", value: "1000", min: "1", max: "10000",
			help: "Most events that a poller claims at a time.",
		},
		{
			field: &c.MaxAttempts, key: "relay.max_attempts", value: "20", min: "1", max: "1000000",
			help: "How often an event may be refused before it becomes a dead letter. Outages do not count.",
		},
		{
			field: &c.PollInterval, key: "relay.poll_interval", value: "6s", min: "10ms", max: "1h",
			help: "Longest sleep of an idle relay while LISTEN works. After it the relay looks for events that no notification announced.",
		},
		{
			field: &c.PollMin, key: "relay.poll_min", value: "10ms", min: "1ms", max: "1m",
			help: "Shortest sleep of an idle relay, right after work. Each sleep after which it finds nothing is twice as long as the one before.",
		},
		{
			field: &c.PollWithoutListen, key: "relay.poll_without_listen", value: "500ms", min: "1ms", max: "1h",
			help: "Longest sleep of an idle relay while LISTEN does not work or is off. A new event may wait that long. A shorter relay.poll_interval takes precedence.",
		},
		{
			field: &c.BackoffBase, key: "relay.backoff_base", value: "1s", min: "1ms",
			help: "Upper bound of the wait after an event's first refusal. It doubles with each further refusal. The wait itself is random.",
		},
		{
			field: &c.BackoffMax, key: "relay.backoff_max", value: "10m", min: "1ms",
			help: "Longest wait between two attempts at one event.",
		},
		{
			field: &c.History, key: "relay.history", value: "168h", min: "0s",
			help: "How long delivered events are kept, so that they can be sent again if Redis loses them. At least 1m, or 0, which keeps none: this is faster, but then nothing can be sent again.",
		},
		{
			field: &c.Unconfirmed, key: "relay.unconfirmed", optional: true,
			help: "Event types that no consumer confirms. They are not sent again after Redis has lost data, so none takes effect twice. Those that had not taken effect are lost.",
		},
		{
			field: &c.Missing, key: "relay.missing", value: "resend", choices: []string{MissingResend, MissingReport},
			help: "What to do with an event that is not confirmed and whose task is no longer in Redis, for example deleted or evicted. With resend it is sent again, up to three times, and only if other events of its type were confirmed. With report it is sent by outboxd redrive --missing. In both cases doctor and /readyz report it.",
		},
		{
			field: &c.Ordering, key: "relay.ordering", value: "block", choices: []string{OrderingBlock, OrderingSkip},
			help: "What a dead letter with an ordering key does to the events behind it. With block they wait until it is replayed or discarded. With skip they go on without it.",
		},
		{
			field: &c.MaxQueue, key: "relay.max_queue", optional: true,
			help: "Bounds of Asynq queues, such as default=100000. While a queue holds that many unfinished tasks, its events wait in PostgreSQL. Events of other queues go on. In the file also as a map. Empty means no bound. Each poller may exceed a bound by one batch.",
		},
		{
			field: &c.InboxRetention, key: "relay.inbox_retention", value: "336h", min: "1m",
			help: "How long the inbox remembers which events took effect, and longer while outboxd still has the event. It must be at least relay.history, or an event that is sent again could take effect twice.",
		},
		{
			field: &c.MaxPayload, key: "relay.max_payload", optional: true, min: "1024", max: "67108864",
			help: "Largest payload that the outbox takes from producers, in bytes or with the unit KiB or MiB. The database keeps it, and the migrations set it. Empty or 0 leaves it as it is: 1MiB in a new database.",
		},
		{
			field: &c.Listen, key: "relay.listen", value: "on", choices: []string{ListenOn, ListenOff},
			help: "Whether to wait for PostgreSQL's notifications. With off the relay polls, and producers do not notify. Use off behind PgBouncer in transaction mode without relay.listen_url.",
		},
		{
			field: &c.ListenURL, key: "relay.listen_url", optional: true, check: address.CheckPostgres,
			help: "PostgreSQL without a pooler in between, for LISTEN and for the lock of the leader. Empty means database.url. Without it the relay polls behind PgBouncer in transaction mode, because LISTEN does not work there; the lock does.",
		},
	}
}

func (c *Worker) options() []*option {
	return []*option{
		{
			field: &c.Concurrency, key: "worker.concurrency", value: "0", min: "0", max: strconv.Itoa(MaxTasks),
			help: "Tasks that run at the same time. 0 means a number for this machine and its handlers: 8 for each processor (8 to 64) if a handler has a transaction for each event, because such a task holds a database connection; 128 for each processor (128 to 512) if all handlers take batches; 32 if the handlers send mails or requests, because the other server limits how many it accepts at once. If there are several kinds of handlers, the smallest of their numbers. `outboxd config` shows the number, and `outboxd bench effects --suggest` measures which is best here.",
		},
		{
			field: &c.Queues, key: "worker.queues", value: "notifications=1",
			help: "Queues to serve, each with its weight, such as critical=6,low=1. In the file also as a map. The default is the queue of the example. Tasks of a type that this worker does not know stay in their queue for another worker.",
		},
		{
			field: &c.PollInterval, key: "worker.poll_interval", value: "250ms", min: "1ms", max: "10s",
			help: "How often an idle worker looks for tasks that no relay announced: retries that are due, and tasks from other programs.",
		},
	}
}

func (c *Deliver) options() []*option {
	return []*option{
		{
			field: &c.Allow, key: "deliver.allow", optional: true,
			help: "Address ranges that deliveries to subscriptions may go to though they are of this machine, link-local or private, such as 10.0.0.0/8. All of those are refused otherwise.",
		},
		{
			field: &c.Proxy, key: "deliver.proxy", optional: true, check: address.CheckHTTP,
			help: "HTTP proxy that all deliveries go through, such as http://proxy:3128. It resolves names, and has to refuse addresses. No proxy is taken from the environment.",
		},
		{
			field: &c.Source, key: "deliver.source", value: "outboxd",
			help: "Source of deliveries as CloudEvents, a URI reference.",
		},
		{
			field: &c.CheckInterval, key: "deliver.check_interval", value: "5s", min: "100ms", max: "1h",
			help: "How often a worker looks whether subscriptions were changed, paused or removed. A process that is a relay too looks at once when one is.",
		},
	}
}

func (c *SMTP) options() []*option {
	return []*option{
		{
			field: &c.Addr, key: "smtp.addr", optional: true, check: address.CheckServer,
			help: "Mail server as host:port, for notify=smtp.",
		},
		{
			field: &c.TLS, key: "smtp.tls", value: "starttls", choices: []string{SMTPStartTLS, SMTPTLS, SMTPPlain},
			help: "Encryption. starttls: the server must offer it after connecting. tls: from the first byte. none: everything is readable on the way.",
		},
		{
			field: &c.Username, key: "smtp.username", optional: true,
			help: "User name at the mail server. Empty means no authentication.",
		},
		{
			field: &c.Password, key: "smtp.password", optional: true,
			help: "Password at the mail server.",
		},
		{
			field: &c.From, key: "smtp.from", optional: true, check: address.CheckMailbox,
			help: "Sender of the mails, such as no-reply@example.com.",
		},
		{
			field: &c.Timeout, key: "smtp.timeout", value: "10s", min: "10ms", max: "10m",
			help: "How long sending one mail may take.",
		},
	}
}

func (c *Webhook) options() []*option {
	return []*option{
		{
			field: &c.URL, key: "webhook.url", optional: true, check: address.CheckHTTP,
			help: "Where notifications are posted, for notify=webhook.",
		},
		{
			field: &c.Secret, key: "webhook.secret", optional: true, check: checkWebhookSecret,
			help: "Signing key as in Standard Webhooks: whsec_ and then 24 to 64 bytes in base64.",
		},
		{
			field: &c.Timeout, key: "webhook.timeout", value: "10s", min: "10ms", max: "10m",
			help: "How long posting one notification may take.",
		},
	}
}

func (c *Log) options() []*option {
	return []*option{
		{
			field: &c.Level, key: "log.level", value: "info", choices: []string{"debug", "info", "warn", "error"},
			help: "Least important messages to log.",
		},
		{
			field: &c.Format, key: "log.format", value: "auto", choices: []string{"auto", "text", "json"},
			help: "Form of the log: auto is text on a terminal and json elsewhere.",
		},
	}
}
