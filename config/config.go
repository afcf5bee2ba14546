package config

import (
	"time"

	"outboxd/config/value"
)

// Config is the configuration of one process. Nothing changes a Config after Load and
// Serve, so any number of goroutines may share it. If a Config is printed, logged or
// marshalled, its values of the types Secret, SecretURL and Sources are masked.
type Config struct {
	Roles           Roles
	DataDir         string        // empty: the platform's default
	Migrate         string        // MigrateAuto or MigrateOff
	ShutdownTimeout time.Duration // how long draining may take in all
	AdminToken      value.Secret  // empty: people sign in by other ways only, if there are any
	Databases       value.Sources // empty: the section Database names the only one
	Source          string        // name of the one to use; always empty after Load, which resolves it
	Example         string        // ExampleAuto or ExampleOn; see RunsExample
	Notify          string        // NotifyLog, NotifySMTP, NotifyWebhook; empty only if no worker sends

	API      API
	Monitor  Monitor
	Access   Access
	OIDC     OIDC
	Probe    Probe
	Database Database
	Redis    Redis
	Embedded Embedded
	Relay    Relay
	Worker   Worker
	Deliver  Deliver
	SMTP     SMTP
	Webhook  Webhook
	Log      Log

	origins  map[string]string // key to where its value came from; a missing key is at its default
	path     string
	handlers Handlers

	oneOfSeveral bool // see OneOfSeveral
}

// API has the options of the section "api": the HTTP API.
type API struct {
	Addr                 string // host:port
	RateLimit            int    // requests per minute and client address; 0: no limit
	TrustedProxies       value.Networks
	BodyLimit            value.Size
	HashConcurrency      int // passwords hashed at the same time
	IdempotencyRetention time.Duration
}

// Monitor has the options of the section "monitor": the listener with the web pages.
type Monitor struct {
	Addr     string          // host:port; empty: no listener
	Mask     value.Names     // parts of the names of payload keys and headers whose values the pages hide
	TraceURL value.SecretURL // with {trace_id}; empty: traces are not linked
}

// Access has the options of the section "access": who may use the pages.
type Access struct {
	Tokens         value.Tokens
	IdentityHeader string // empty: no proxy names people
	IdentityRole   string
}

// OIDC has the options of the section "oidc": signing in by OpenID Connect.
type OIDC struct {
	Issuer       string // empty: off
	ClientID     string
	ClientSecret value.Secret // empty: a public client
	RedirectURL  string       // empty: from the request
	Scopes       value.Names
	NameClaim    string
	RoleClaim    string
	Roles        value.Grants
}

// Probe has the options of the section "probe": the listener for health probes and for
// Prometheus.
type Probe struct {
	Addr string // host:port; empty: the monitor's listener serves the probes
}

// Database has the options of the section "database": the connections to PostgreSQL.
type Database struct {
	URL            value.SecretURL // empty: outboxd runs its own server
	ReadURL        value.SecretURL // of a standby; empty: everything is read from URL
	PasswordFile   string          // empty: the URL's password
	Schema         string          // the schema of outboxd's tables and functions
	MaxConns       int             // 0: see Config.Sizes
	ExecMode       string          // pgx's name of the mode, such as "cache_statement"
	ConnectTimeout time.Duration
}

// Redis has the options of the section "redis": the connections to Redis.
type Redis struct {
	URL                  value.SecretURL // empty: outboxd runs its own server
	Username             string          // empty: the URL's
	PasswordFile         string          // empty: the URL's password
	SentinelUsername     string
	SentinelPassword     value.Secret
	SentinelPasswordFile string
	TLSCA                string // file; empty: the system's
	TLSCert, TLSKey      string // files; empty: no client certificate
	TLSServerName        string // empty: the host
	WaitReplicas         int
	CheckInterval        time.Duration // between two checks whether Redis has kept its data
}

// Embedded has the options of the section "embedded": the PostgreSQL and Redis servers
// that outboxd starts itself.
type Embedded struct {
	PostgresBin string // folder with postgres and initdb; empty: search
	RedisServer string // executable; empty: search
}

// Relay has the options of the section "relay": the relay and its housekeeping.
type Relay struct {
	Concurrency    int // pollers
	BatchSize      int // events
	MaxAttempts    int
	PollInterval   time.Duration // longest sleep while LISTEN works
	PollMin        time.Duration // shortest sleep
	BackoffBase    time.Duration
	BackoffMax     time.Duration
	History        time.Duration // how long outbox_sent is kept
	Unconfirmed    value.Names   // event types
	Missing        string        // MissingResend or MissingReport
	Ordering       string        // OrderingBlock or OrderingSkip
	MaxQueue       value.Bounds
	InboxRetention time.Duration   // at least History
	MaxPayload     value.Size      // 0: the database keeps its limit
	Listen         string          // ListenOn or ListenOff
	ListenURL      value.SecretURL // empty: as Database.URL

	PollWithoutListen time.Duration // longest sleep while LISTEN does not work
}

// Worker has the options of the section "worker": the processing of tasks.
type Worker struct {
	Concurrency  int // tasks at the same time; 0: see Config.Sizes
	Queues       value.Queues
	PollInterval time.Duration
}

// Deliver has the options of the section "deliver": the deliveries to subscriptions.
type Deliver struct {
	Allow         value.Networks  // exceptions from the refused address ranges
	Proxy         value.SecretURL // empty: none
	Source        string          // of CloudEvents
	CheckInterval time.Duration
}

// SMTP has the options of the section "smtp": the example's notifications by mail.
type SMTP struct {
	Addr     string // host:port
	TLS      string // SMTPStartTLS, SMTPTLS or SMTPPlain
	Username string // empty: no authentication
	Password value.Secret
	From     string        // an address of RFC 5322, with or without a name
	Timeout  time.Duration // for one message
}

// Webhook has the options of the section "webhook": the example's notifications by HTTP.
type Webhook struct {
	URL     value.SecretURL // http or https
	Secret  value.Secret    // Standard Webhooks: whsec_ and 24 to 64 bytes in base64
	Timeout time.Duration   // for one request
}

// Log has the options of the section "log".
type Log struct {
	Level  string // debug, info, warn or error
	Format string // auto, text or json
}

// The values of Config.Migrate.
const (
	MigrateAuto = "auto"
	MigrateOff  = "off"
)

// The values of Config.Example.
const (
	ExampleAuto = "auto"
	ExampleOn   = "on"
)

// The values of Relay.Missing.
const (
	MissingResend = "resend"
	MissingReport = "report"
)

// The values of Relay.Ordering.
const (
	OrderingBlock = "block"
	OrderingSkip  = "skip"
)

// The values of Relay.Listen.
const (
	ListenOn  = "on"
	ListenOff = "off"
)

// The values of Config.Notify.
const (
	NotifyLog     = "log"
	NotifySMTP    = "smtp"
	NotifyWebhook = "webhook"
)

// The values of SMTP.TLS.
const (
	SMTPStartTLS = "starttls"
	SMTPTLS      = "tls"
	SMTPPlain    = "none"
)

// Default returns the configuration of a process without any settings.
func Default() *Config {
	l := newLoading()
	l.decode()
	l.config.resolve()
	return l.config
}

// HasRole reports whether this process runs the role.
func (c *Config) HasRole(role Role) bool { return c.Roles.Has(role) }

// RunsExample reports whether this process runs the example: its tables and, with
// RoleWorker, the handlers of its events. The HTTP API belongs to the example, so a
// process with RoleAPI always runs it.
func (c *Config) RunsExample() bool { return c.Example == ExampleOn || c.HasRole(RoleAPI) }

// HasMonitorListener reports whether this process listens on Monitor.Addr. A process does
// not listen there if Monitor.Addr is empty, or if the probes have an address of their own
// and the process does not serve the web pages.
func (c *Config) HasMonitorListener() bool {
	return c.Monitor.Addr != "" && (c.Probe.Addr == "" || c.HasRole(RoleMonitor))
}

// HasSignIn reports whether people can sign in to the pages in any way.
func (c *Config) HasSignIn() bool {
	return c.AdminToken != "" || len(c.Access.Tokens) > 0 || c.Access.IdentityHeader != "" || c.OIDC.Issuer != ""
}

// Path returns the path of the configuration file that was read, or "" if none was read.
func (c *Config) Path() string { return c.path }

// resolve sets the values that depend on other options.
func (c *Config) resolve() {
	if c.Notify == "" && c.Database.URL == "" {
		c.Notify = NotifyLog
	}
}
