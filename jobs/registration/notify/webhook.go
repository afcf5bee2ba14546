package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"outboxd/domain"
	"outboxd/domain/registration"
	"outboxd/jobs/answer"
	"outboxd/jobs/span"
)

const (
	// webhookTimeout limits one Send if WebhookOptions.Timeout is zero.
	webhookTimeout = 15 * time.Second
	// bodyTimeout is how long Send waits for the rest of an answer whose status it already
	// has.
	bodyTimeout = time.Second
	// maxBody is the largest number of bytes that are read of an answer's body. The default client
	// also reads at most maxBody bytes of an answer's headers.
	maxBody = 64 << 10
	// maxQuoted is the number of bytes of an answer's body from which Send makes the text of
	// its error.
	maxQuoted = 4 << 10
)

// WebhookOptions say to which URL messages are posted and how they are signed.
type WebhookOptions struct {
	URL     string        // http or https
	Secret  string        // base64, with or without the prefix whsec_
	Timeout time.Duration // of one Send; 15 s if zero

	// Client replaces the default HTTP client. Its CheckRedirect is not used. If there is no
	// Client, or a Client without a Transport, the proxies come from HTTP_PROXY, HTTPS_PROXY
	// and NO_PROXY.
	Client *http.Client
}

// Webhook posts messages as JSON. Webhook signs the messages by the Standard Webhooks
// scheme (standardwebhooks.com); the webhook-id is the event ID.
type Webhook struct {
	url     string
	address string // host:port
	origin  string // the URL for a trace, without the parts that may grant access
	signer  *standardwebhooks.Webhook
	secret  string
	timeout time.Duration
	client  *http.Client
	logger  *slog.Logger
}

// NewWebhook checks the options. It does not connect. The errors of NewWebhook quote
// neither the URL nor the secret, because both may grant access.
func NewWebhook(options WebhookOptions, logger *slog.Logger) (*Webhook, error) {
	target, err := url.Parse(options.URL)
	if err != nil || target.Hostname() == "" || target.Scheme != "http" && target.Scheme != "https" {
		return nil, errors.New("the webhook URL is not an absolute http or https URL")
	}
	signer, err := standardwebhooks.NewWebhook(options.Secret)
	if err != nil || options.Secret == "" || options.Secret == "whsec_" {
		return nil, errors.New("the webhook secret is not base64, with or without the prefix whsec_")
	}
	if options.Timeout < 0 {
		return nil, fmt.Errorf("webhook timeout %s is negative", options.Timeout)
	}
	if options.Timeout == 0 {
		options.Timeout = webhookTimeout
	}
	var client http.Client
	if options.Client != nil {
		client = *options.Client
	}
	if client.Transport == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxResponseHeaderBytes = maxBody // Go's default is 10 MB for each waiting task
		client.Transport = transport
	}
	// Redirects are not followed: a redirected POST may become a GET, or reach another
	// server than the configured one.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Webhook{
		url: target.String(), address: hostAndPort(target), origin: target.Scheme + "://" + target.Host + "/REDACTED", signer: signer, secret: options.Secret,
		timeout: options.Timeout, client: &client, logger: logger,
	}, nil
}

func hostAndPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// Close closes idle connections. Close may be called while messages are sent, and the
// notifier can still be used afterwards.
func (n *Webhook) Close() error {
	n.client.CloseIdleConnections()
	return nil
}

// webhookBody is the body of a request.
type webhookBody struct {
	Type      string      `json:"type"`
	Timestamp time.Time   `json:"timestamp"` // of the notification
	Data      webhookData `json:"data"`
}

type webhookData struct {
	NotificationID domain.ID `json:"notification_id"`
	UserID         domain.ID `json:"user_id"`
	Email          string    `json:"email"`
	Message        string    `json:"message"`
}

// Send returns nil when the receiver answered 2xx. Errors: CodeInvalid if the receiver
// answered 4xx other than 408, 425 and 429, or if the message has no event ID;
// CodeUnavailable for every other answer, including redirects, and if there was no answer.
// The error's RetryAfter (at most 24 h) is set if the receiver said how long to wait.
func (n *Webhook) Send(ctx context.Context, message registration.Message) error {
	return span.Client(ctx, http.MethodPost, func(ctx context.Context) error { return n.send(ctx, message) },
		append(span.Server(n.address), semconv.HTTPRequestMethodPost, semconv.URLFull(n.origin))...)
}

func (n *Webhook) send(ctx context.Context, message registration.Message) error {
	if message.EventID.IsZero() {
		return domain.Errorf(domain.CodeInvalid, "the message has no event ID")
	}
	ctx, cancel := withTimeout(ctx, n.timeout)
	defer cancel()
	request, err := n.request(ctx, message)
	if err != nil {
		return fmt.Errorf("prepare the webhook request: %w", err)
	}
	response, err := n.client.Do(request)
	if err != nil {
		return n.noAnswer(ctx, err)
	}
	defer func() { _ = response.Body.Close() }()
	// The status decides. The body is read only to keep the connection usable and to quote it, so
	// Send waits for a slow receiver only for bodyTimeout. After status 101 an answer has no body,
	// only a bare connection, which the end of a context does not close.
	status := response.StatusCode
	trace.SpanFromContext(ctx).SetAttributes(semconv.HTTPResponseStatusCode(status))
	var quoted []byte
	if status != http.StatusSwitchingProtocols {
		defer time.AfterFunc(bodyTimeout, cancel).Stop()
		quoted, _ = io.ReadAll(io.LimitReader(response.Body, maxQuoted))
		_, _ = io.CopyN(io.Discard, response.Body, maxBody-maxQuoted)
	}
	if status >= 200 && status <= 299 {
		n.logger.DebugContext(ctx, "webhook accepted", "event_id", message.EventID, "status", status)
		return nil
	}
	cause := fmt.Errorf("status %d", status)
	if words := answer.Excerpt(string(quoted), message.To, n.secret); words != "" {
		cause = fmt.Errorf("status %d: %s", status, words)
	}
	if status >= 400 && status <= 499 && status != http.StatusRequestTimeout &&
		status != http.StatusTooEarly && status != http.StatusTooManyRequests {
		return domain.Wrap(domain.CodeInvalid, cause, "the webhook's receiver refused the message")
	}
	failure := domain.Wrap(domain.CodeUnavailable, cause, "the webhook's receiver does not take the message now")
	failure.RetryAfter = answer.RetryAfter(response.Header.Get("Retry-After"), time.Now())
	return failure
}

// request builds and signs the request of one attempt. The signature contains
// the time.
func (n *Webhook) request(ctx context.Context, message registration.Message) (*http.Request, error) {
	body, err := json.Marshal(webhookBody{
		Type:      message.Type,
		Timestamp: message.CreatedAt.UTC(),
		Data:      webhookData{message.NotificationID, message.UserID, message.To, message.Text},
	})
	if err != nil {
		return nil, err
	}
	now, id := time.Now(), message.EventID.String()
	signature, err := n.signer.Sign(id, now, body)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, n.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", userAgent)
	request.Header.Set(standardwebhooks.HeaderWebhookID, id)
	request.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	request.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(request.Header))
	return request, nil
}

// noAnswer returns the error of a request that got no answer. The error of net/http would
// quote the URL.
func (n *Webhook) noAnswer(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return domain.Wrap(domain.CodeUnavailable, cause, "the webhook's receiver did not answer in time")
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	return domain.Wrap(domain.CodeUnavailable, errors.New(answer.Excerpt(err.Error(), n.secret)),
		"the webhook's receiver cannot be reached")
}
