package notify

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	netmail "net/mail"
	"slices"
	"time"

	"github.com/wneessen/go-mail"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"outboxd/domain"
	"outboxd/domain/registration"
	"outboxd/jobs/answer"
	"outboxd/jobs/span"
)

// How a connection to the mail server is encrypted.
const (
	TLSStart    = "starttls" // plain at first, then STARTTLS or nothing (port 587)
	TLSImplicit = "tls"      // from the first byte (port 465)
	TLSNone     = "none"     // never; passwords are then only sent as the answer to a challenge
)

// smtpTimeout bounds one Send if SMTPOptions.Timeout is zero.
const smtpTimeout = 30 * time.Second

// goodbyeTimeout bounds the wait for the answer to QUIT, which does not matter.
const goodbyeTimeout = time.Second

// SMTPOptions say which mail server to use and how.
type SMTPOptions struct {
	Addr     string // host:port
	TLS      string // TLSStart (also if empty), TLSImplicit or TLSNone
	Username string // empty: no authentication
	Password string
	From     string // address, with or without a name; its domain ends the Message-IDs

	// Timeout bounds one Send from the dial to the last answer; 30 s if zero.
	// Keep it below the task's timeout, or the task ends first.
	Timeout time.Duration

	// TLSConfig replaces the default (TLS 1.2 or newer, the system's roots).
	// An empty ServerName becomes the host of Addr.
	TLSConfig *tls.Config
}

// SMTP sends mail through an SMTP server, one connection for each
// message.
type SMTP struct {
	options SMTPOptions
	host    string
	from    *netmail.Address
	logger  *slog.Logger
}

// NewSMTP checks the options; it does not connect.
func NewSMTP(options SMTPOptions, logger *slog.Logger) (*SMTP, error) {
	host, _, err := net.SplitHostPort(options.Addr)
	if err != nil || host == "" {
		return nil, fmt.Errorf("SMTP address %q is not host:port", options.Addr)
	}
	from, err := sender(options.From)
	if err != nil {
		return nil, fmt.Errorf("SMTP: %w", err)
	}
	switch options.TLS {
	case "":
		options.TLS = TLSStart
	case TLSStart, TLSImplicit, TLSNone:
	default:
		return nil, fmt.Errorf("SMTP encryption %q is none of starttls, tls and none", options.TLS)
	}
	if options.Timeout < 0 {
		return nil, fmt.Errorf("SMTP timeout %s is negative", options.Timeout)
	}
	if options.Timeout == 0 {
		options.Timeout = smtpTimeout
	}
	if options.Username == "" && options.Password != "" {
		return nil, errors.New("SMTP password without a user name")
	}
	if options.TLSConfig == nil {
		options.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	options.TLSConfig = options.TLSConfig.Clone()
	if options.TLSConfig.ServerName == "" {
		options.TLSConfig.ServerName = host
	}
	n := &SMTP{options: options, host: host, from: from, logger: logger}
	if _, err := n.client(nil); err != nil {
		return nil, fmt.Errorf("SMTP: %w", err)
	}
	return n, nil
}

// Send returns nil once the server has accepted the message, even if the
// connection breaks afterwards. Errors: CodeInvalid if the server refused
// recipient or content for good, or the mail cannot be made; CodeUnavailable
// for everything that is no fault of the message, such as refused credentials
// or a refused sender. If the connection broke before the last answer, it is
// not known whether the server accepted the message. That counts as
// unavailable, so the message may arrive twice, with the same Message-ID.
func (n *SMTP) Send(ctx context.Context, message registration.Message) error {
	return span.Client(ctx, "SMTP send", func(ctx context.Context) error { return n.send(ctx, message) },
		append(span.Server(n.options.Addr), semconv.NetworkProtocolName("smtp"))...)
}

func (n *SMTP) send(ctx context.Context, message registration.Message) error {
	msg, err := compose(n.from, message)
	if err != nil {
		return err
	}
	ctx, cancel := withTimeout(ctx, n.options.Timeout)
	defer cancel()
	err = n.deliver(ctx, msg)
	if msg.IsDelivered() {
		n.logger.DebugContext(ctx, "mail accepted", "event_id", message.EventID)
		return nil
	}
	text := errors.New(n.withoutSecrets(err, msg))
	if refusedForGood(err) {
		return domain.Wrap(domain.CodeInvalid, text, "the mail server refused the message")
	}
	// The context closed the connection, and err says only that it is closed.
	if cause := context.Cause(ctx); cause != nil {
		return domain.Wrap(domain.CodeUnavailable, cause, "the mail server did not take the message in time")
	}
	return domain.Wrap(domain.CodeUnavailable, text, "the mail server does not take the message now")
}

// deliver holds one conversation with the server. After an error msg may still
// be delivered: ask msg.IsDelivered.
func (n *SMTP) deliver(ctx context.Context, msg *mail.Msg) error {
	wire, err := new(net.Dialer).DialContext(ctx, "tcp", n.options.Addr)
	if err != nil {
		return err
	}
	// go-mail observes the context only while it dials, renews its time limit
	// several times in a conversation, and leaves the connection open if the
	// handshake fails. Closing the connection below it solves all three.
	defer func() { _ = wire.Close() }()
	defer context.AfterFunc(ctx, func() { _ = wire.Close() })()

	conn := wire
	if n.options.TLS == TLSImplicit {
		encrypted := tls.Client(wire, n.options.TLSConfig)
		if err := encrypted.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("TLS handshake: %w", err)
		}
		conn = encrypted
	}
	client, err := n.client(conn)
	if err != nil {
		return err
	}
	session, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return err
	}
	err = client.SendWithSMTPClient(session, msg)
	if session.UpdateDeadline(goodbyeTimeout) == nil {
		_ = client.CloseWithSMTPClient(session)
	}
	return err
}

// client returns a go-mail client that uses conn.
func (n *SMTP) client(conn net.Conn) (*mail.Client, error) {
	options := []mail.Option{
		// Longer than Send's own limit, so that Send's limit always comes first.
		mail.WithTimeout(2 * n.options.Timeout),
		mail.WithTLSConfig(n.options.TLSConfig),
		mail.WithDialContextFunc(func(context.Context, string, string) (net.Conn, error) { return conn, nil }),
		// One message per connection, so NOOP and RSET are not needed.
		mail.WithoutNoop(),
		mail.WithoutRset(),
	}
	if n.options.TLS == TLSStart {
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
	} else {
		options = append(options, mail.WithTLSPolicy(mail.NoTLS))
	}
	if n.options.Username != "" {
		options = append(options, mail.WithUsername(n.options.Username), mail.WithPassword(n.options.Password))
		if n.options.TLS == TLSNone {
			options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover))
		} else {
			// Auto-discovery takes a connection that was encrypted outside
			// go-mail for a plain one, and would not offer PLAIN.
			options = append(options, mail.WithOpportunisticSMTPAuth(
				mail.SMTPAuthSCRAMSHA256PLUS, mail.SMTPAuthSCRAMSHA256,
				mail.SMTPAuthSCRAMSHA1PLUS, mail.SMTPAuthSCRAMSHA1,
				mail.SMTPAuthCramMD5, mail.SMTPAuthPlain, mail.SMTPAuthLogin))
		}
	}
	return mail.NewClient(n.host, options...)
}

// withoutSecrets returns the text of err without credentials and recipient.
func (n *SMTP) withoutSecrets(err error, msg *mail.Msg) string {
	var hide []string
	for _, to := range msg.GetTo() {
		hide = append(hide, to.Address)
	}
	if user, password := n.options.Username, n.options.Password; password != "" {
		encode := base64.StdEncoding.EncodeToString
		hide = append(hide, encode([]byte("\x00"+user+"\x00"+password)), encode([]byte(password)), password)
	}
	return answer.Excerpt(err.Error(), hide...)
}

// refusedForGood reports whether the server will never accept this message: it
// answered 5xx to recipient or content. A 5xx answer to an earlier command is a
// fault of the configuration. So are the codes that ask for other commands,
// encryption or credentials (RFC 5321, section 4.2.2; RFC 4954, section 6),
// which some servers send only after they see the recipient.
func refusedForGood(err error) bool {
	var refusal *mail.SendError
	if !errors.As(err, &refusal) {
		return false
	}
	about := []mail.SendErrReason{mail.ErrSMTPRcptTo, mail.ErrSMTPData, mail.ErrSMTPDataClose}
	blameless := []int{502, 503, 504, 530, 534, 535, 538}
	code := refusal.ErrorCode()
	return slices.Contains(about, refusal.Reason) && code >= 500 && code <= 599 && !slices.Contains(blameless, code)
}

// withTimeout is context.WithTimeout with a cause that names the limit.
func withTimeout(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("gave up after %s: %w", limit, context.DeadlineExceeded))
}
