package deliver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	oteltrace "go.opentelemetry.io/otel/trace"

	"outboxd/jobs/answer"
	"outboxd/jobs/span"
)

const (
	// bodyTimeout is how long Sender waits for the rest of an answer whose status it already
	// has.
	bodyTimeout = time.Second
	// maxBody is the largest number of bytes that are read of an answer's body, and also of
	// its headers.
	maxBody = 64 << 10
	// maxQuoted is the number of bytes of an answer's body from which Attempt.Excerpt is
	// made. The excerpt itself has at most 200 characters.
	maxQuoted = 4 << 10
	// idleTimeout is how long a connection without a request stays open.
	idleTimeout = 90 * time.Second
)

// SenderOptions has the options of a Sender.
type SenderOptions struct {
	Guard *Guard // required
	// If Proxy is not nil, all requests go through this proxy. The proxy resolves host
	// names, so the Guard can check only a URL with an address in the place of the name.
	Proxy *url.URL
	// Source is the value of the CloudEvents attribute source: a URI reference.
	Source string // "outboxd" if empty
	// Connections is the largest number of idle connections, to one host and in all. 0: 2 to
	// each host.
	Connections int
}

// Sender sends deliveries. It is safe for concurrent use. Sender uses no proxy from the
// environment, and follows no redirects.
type Sender struct {
	client *http.Client
	guard  *Guard
	proxy  bool
	source string
}

// NewSender returns a Sender. It does not connect.
func NewSender(o SenderOptions) *Sender {
	transport := &http.Transport{
		DialContext:            o.Guard.dial,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           o.Connections,
		MaxIdleConnsPerHost:    o.Connections,
		IdleConnTimeout:        idleTimeout,
		TLSHandshakeTimeout:    defaultTimeout,
		MaxResponseHeaderBytes: maxBody,
		DisableCompression:     true, // a small answer could become a large one
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second},
	}
	if o.Proxy != nil {
		transport.Proxy = http.ProxyURL(o.Proxy)
		transport.DialContext = new(net.Dialer).DialContext
	}
	if o.Source == "" {
		o.Source = "outboxd"
	}
	return &Sender{
		client: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		guard:  o.Guard, proxy: o.Proxy != nil, source: o.Source,
	}
}

// Close closes idle connections. The Sender can still be used afterwards.
func (s *Sender) Close() { s.client.CloseIdleConnections() }

// Send sends a delivery once.
func (s *Sender) Send(ctx context.Context, target Target, d Delivery) Attempt {
	var a Attempt
	_ = span.Client(ctx, http.MethodPost, func(ctx context.Context) error {
		a = s.send(ctx, &target, &d)
		if a.Outcome == Accepted {
			return nil
		}
		return errors.New(a.String())
	}, semconv.HTTPRequestMethodPost)
	return a
}

func (s *Sender) send(ctx context.Context, target *Target, d *Delivery) Attempt {
	begun := time.Now()
	timeout := target.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("gave up after %s: %w", timeout, context.DeadlineExceeded))
	defer cancel()
	request, secrets, err := s.request(ctx, target, d, begun)
	if err == nil {
		err = s.checkLiteral(request.URL)
	}
	if errors.Is(err, errEvent) {
		return Attempt{Outcome: Refused, Took: time.Since(begun), Err: err}
	}
	if err != nil {
		return Attempt{Outcome: Repeat, Down: true, Took: time.Since(begun), Err: err}
	}
	response, err := s.client.Do(request)
	if err != nil {
		return Attempt{Outcome: Repeat, Down: true, Took: time.Since(begun), Err: why(ctx, err, secrets)}
	}
	defer func() { _ = response.Body.Close() }()
	return read(ctx, cancel, response, begun, secrets)
}

// checkLiteral checks the address if the URL has one in the place of a host name and a
// proxy will connect to it. Other forms of an IPv4 address, such as 127.1 or 0x7f000001, mean an
// address to many proxies, so checkLiteral refuses them. No top-level domain looks like them.
func (s *Sender) checkLiteral(u *url.URL) error {
	if !s.proxy {
		return nil
	}
	host := u.Hostname()
	if address, err := netip.ParseAddr(host); err == nil {
		return s.guard.Check(address)
	}
	plain := strings.ToLower(strings.TrimSuffix(host, "."))
	if last := plain[strings.LastIndexByte(plain, '.')+1:]; strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") {
		return fmt.Errorf("%w: %s is no name; write an address with four numbers, such as 192.0.2.7", ErrRefusedAddress, host)
	}
	return nil
}

// read makes an Attempt of an answer. Only the status decides the outcome. The body is read only to
// keep the connection usable and to quote it. So a slow receiver has only bodyTimeout to send it.
// After status 101 an answer has no body, only a bare connection.
func read(ctx context.Context, cancel context.CancelFunc, response *http.Response, begun time.Time, secrets []string) Attempt {
	a := Attempt{Status: response.StatusCode, RetryAfter: answer.RetryAfter(response.Header.Get("Retry-After"), time.Now())}
	oteltrace.SpanFromContext(ctx).SetAttributes(semconv.HTTPResponseStatusCode(a.Status))
	a.Outcome, a.Down = judge(a.Status)
	if a.Status != http.StatusSwitchingProtocols {
		defer time.AfterFunc(bodyTimeout, cancel).Stop()
		quoted, _ := io.ReadAll(io.LimitReader(response.Body, maxQuoted))
		_, _ = io.CopyN(io.Discard, response.Body, maxBody-maxQuoted)
		a.Excerpt = answer.Excerpt(string(quoted), secrets...)
	}
	if a.Status >= 300 && a.Status <= 399 {
		a.Excerpt = "a redirect, which is not followed; change the subscription's URL"
	}
	a.Took = time.Since(begun)
	return a
}

// why turns the error of a request that got no answer into one that a person may see. The
// error of net/http would quote the URL, and the URL may grant access.
func why(ctx context.Context, err error, secrets []string) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, ErrRefusedAddress) {
		return cause
	}
	err = withoutURL(err)
	if errors.Is(err, ErrRefusedAddress) {
		return err
	}
	return quoted{answer.Excerpt(err.Error(), secrets...), err}
}

// quoted is an error whose text the timeline of an event may show.
type quoted struct {
	text  string
	cause error
}

func (q quoted) Error() string { return q.text }

func (q quoted) Unwrap() error { return q.cause }

func withoutURL(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}
