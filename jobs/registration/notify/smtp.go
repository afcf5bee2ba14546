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

// The values of SMTPOptions.TLS say how a connection to the mail server is encrypted.
const (
	TLSStart    = "starttls" // plain at first; without STARTTLS nothing is sent (port 587)
	TLSImplicit = "tls"      // from the first byte (port 465)
	TLSNone     = "none"     // never; instead of the password, only the answer to a challenge is sent
)

// smtpTimeout limits one Send if SMTPOptions.Timeout is zero.
const smtpTimeout = 30 * time.Second

// goodbyeTimeout is how long to wait for the answer to QUIT. It does not matter what the
// answer says.
const goodbyeTimeout = time.Second

// SMTPOptions say which mail server to use and how.
type SMTPOptions struct {
	Addr     string // host:port
	TLS      string // TLSStart (also if empty), TLSImplicit or TLSNone
	Username string // empty: no authentication
	Password string
	From     string // address, with or without a name; its domain ends the Message-IDs

	// Timeout limits one Send, from the connection to the last answer. 0 means 30 s. Make
	// Timeout shorter than the task's timeout; otherwise the task's timeout ends the task
	// first.
	Timeout time.Duration

	// TLSConfig replaces the default settings: TLS 1.2 or newer, and the root certificates
	// of the system. If ServerName of TLSConfig is empty, the host of Addr is used.
	TLSConfig *tls.Config
}

// SMTP sends mail through an SMTP server. Each message has its own connection.
type SMTP struct {
	options SMTPOptions
	host    string
	from    *netmail.Address
	logger  *slog.Logger
}

// NewSMTP checks the options. It does not connect.
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

// Send returns nil when the server has accepted the message, even if the connection breaks
// afterwards. Errors: CodeInvalid if the server refused the recipient or the content for
// ever, or if the mail cannot be made; CodeUnavailable for everything that is not the
// message's fault, such as refused credentials or a refused sender. If the connection broke
// before the last answer, it is not known whether the server accepted the message. The error
// then has CodeUnavailable and the message is sent again, so it may arrive twice, with the
// same Message-ID.
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
	// The end of the context closed the connection, and err says only that the connection is
	// closed.
	if cause := context.Cause(ctx); cause != nil {
		return domain.Wrap(domain.CodeUnavailable, cause, "the mail server did not take the message in time")
	}
	return domain.Wrap(domain.CodeUnavailable, text, "the mail server does not take the message now")
}

// deliver connects to the mail server and sends msg. Even after an error the server may
// have accepted msg: ask msg.IsDelivered.
func (n *SMTP) deliver(ctx context.Context, msg *mail.Msg) error {
	wire, err := new(net.Dialer).DialContext(ctx, "tcp", n.options.Addr)
	if err != nil {
		return err
	}
	// go-mail has three faults: it looks at the context only while it connects, it begins
	// its time limit again several times in a conversation, and it leaves the connection
	// open if the handshake fails. Closing the underlying connection here corrects all
	// three.
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

// client returns a go-mail client that uses the connection conn.
func (n *SMTP) client(conn net.Conn) (*mail.Client, error) {
	options := []mail.Option{
		// go-mail's time limit is longer than Send's own limit, so that Send's limit always
		// ends first.
		mail.WithTimeout(2 * n.options.Timeout),
		mail.WithTLSConfig(n.options.TLSConfig),
		mail.WithDialContextFunc(func(context.Context, string, string) (net.Conn, error) { return conn, nil }),
		// Each connection sends one message, so NOOP and RSET are not needed.
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
			// go-mail's auto-discovery does not see that the connection was encrypted outside
			// go-mail, and would not offer PLAIN.
			options = append(options, mail.WithOpportunisticSMTPAuth(
				mail.SMTPAuthSCRAMSHA256PLUS, mail.SMTPAuthSCRAMSHA256,
				mail.SMTPAuthSCRAMSHA1PLUS, mail.SMTPAuthSCRAMSHA1,
				mail.SMTPAuthCramMD5, mail.SMTPAuthPlain, mail.SMTPAuthLogin))
		}
	}
	return mail.NewClient(n.host, options...)
}

// withoutSecrets returns the text of err without the credentials and the recipient.
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

// refusedForGood reports whether a mail server will never accept this message, because the
// server answered 5xx to the recipient or the content. A 5xx answer to an earlier command
// is a fault of the configuration. A code that asks for other commands, encryption or
// credentials is a fault of the configuration too (RFC 5321, section 4.2.2; RFC 4954,
// section 6). Some servers send such a code only after they have read the recipient.
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

// withTimeout does what context.WithTimeout does, with a cause that names the limit.
func withTimeout(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("gave up after %s: %w", limit, context.DeadlineExceeded))
}
