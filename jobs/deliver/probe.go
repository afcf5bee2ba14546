package deliver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"

	"outboxd/domain"
	"outboxd/domain/setup"
)

// ProbeType is the event type of a probe.
const ProbeType = "outboxd:probe"

// Probe sends a test request to a receiver, signed as a delivery is. The request
// belongs to no event and has an ID of its own.
func (s *Sender) Probe(ctx context.Context, target Target, id domain.ID) Attempt {
	return s.Send(ctx, target, Delivery{
		EventID: id, Type: ProbeType, Queue: setup.SubscriptionQueuePrefix + target.Name,
		Payload: fmt.Appendf(nil, `{"probe":true,"subscription":%q}`, target.Name), CreatedAt: time.Now(), Attempt: 1,
	})
}

// Trouble says in a few words why the receiver did not accept a delivery. Trouble returns
// "" if the receiver accepted it.
func (a *Attempt) Trouble() string {
	var name *net.DNSError
	var network net.Error
	_, certificate := errors.AsType[*tls.CertificateVerificationError](a.Err)
	_, record := errors.AsType[tls.RecordHeaderError](a.Err)
	_, alert := errors.AsType[tls.AlertError](a.Err)
	switch {
	case a.Outcome == Accepted:
		return ""
	case a.Status >= 300 && a.Status <= 399:
		return "redirect"
	case a.Status != 0:
		return "status"
	case errors.Is(a.Err, ErrRefusedAddress):
		return "refused address"
	case errors.Is(a.Err, errSecret):
		return "secret"
	case certificate, record, alert, errors.Is(a.Err, http.ErrSchemeMismatch):
		return "TLS"
	case errors.As(a.Err, &name):
		return "name"
	case errors.Is(a.Err, context.DeadlineExceeded), errors.As(a.Err, &network) && network.Timeout():
		return "timeout"
	case errors.Is(a.Err, syscall.ECONNREFUSED):
		return "connection refused"
	default:
		return "connection"
	}
}

// Advice says what to do about the Trouble.
func (a *Attempt) Advice() string {
	switch a.Trouble() {
	case "redirect":
		return "change the subscription's URL to where it leads"
	case "status":
		return statusAdvice(a.Status)
	case "refused address":
		return "deliveries go to public addresses; --deliver-allow makes exceptions; set it for the workers and for this command"
	case "secret":
		return "set the secret for this command as for the workers: it is read where it is used"
	case "TLS":
		return "look at the receiver's certificate and its name, and whether the URL should begin with http://"
	case "name":
		return "correct the host in the subscription's URL"
	case "timeout":
		return "look whether the receiver answers at all; it may need a longer timeout in the subscription"
	case "connection refused":
		return "start the receiver, or correct the port in the subscription's URL"
	case "connection":
		return "look what stands between this machine and the receiver"
	default:
		return ""
	}
}

func statusAdvice(status int) string {
	switch outcome, _ := judge(status); {
	case status == 401 || status == 403:
		return "the receiver does not know the signature: compare the secrets; a delivery would be a dead letter"
	case outcome == Gone:
		return "a delivery would pause the subscription"
	case outcome == Refused:
		return "a delivery would be a dead letter; look whether the URL is right"
	default:
		return "a delivery would be tried again"
	}
}
