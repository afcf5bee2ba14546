package notify

import (
	"fmt"
	"html/template"
	netmail "net/mail"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wneessen/go-mail"
	"golang.org/x/net/idna"

	"outboxd/domain"
	"outboxd/domain/registration"
)

// userAgent is the name of this program for mail readers and webhook receivers.
const userAgent = "outboxd"

// htmlPart is the HTML part of a mail. The HTML part has no style sheet, image or link,
// because mail readers block or change them.
var htmlPart = template.Must(template.New("mail").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{.Subject}}</title>
</head>
<body style="font-family: sans-serif; line-height: 1.5">
{{- range .Lines}}
<p>{{.}}</p>
{{- end}}
</body>
</html>
`))

// subject returns the subject line for a type of notification. The subject never contains
// the type, because any producer can choose the type.
func subject(notificationType string) string {
	switch notificationType {
	case registration.NotificationUserRegistration:
		return "Welcome! Your account is ready"
	default:
		return "You have a new notification"
	}
}

// compose makes the complete MIME message for m: a text part and an HTML part, for one recipient.
// The Message-ID consists of the event ID and the sender's domain, and is the same in every repeat.
// The mail's date is that of the notification, or now if the notification has none. Errors:
// CodeInvalid if the mail cannot be made.
func compose(from *netmail.Address, m registration.Message) (*mail.Msg, error) {
	if m.EventID.IsZero() {
		return nil, domain.Errorf(domain.CodeInvalid, "the message has no event ID")
	}
	to, err := recipient(m.To)
	if err != nil {
		return nil, err
	}
	text := strings.ToValidUTF8(m.Text, string(utf8.RuneError))
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
	text = strings.TrimRight(text, "\n")
	html := new(strings.Builder)
	page := struct {
		Subject string
		Lines   []string
	}{subject(m.Type), strings.Split(text, "\n")}
	if err := htmlPart.Execute(html, page); err != nil {
		return nil, fmt.Errorf("render the HTML part: %w", err)
	}
	date := m.CreatedAt
	if date.IsZero() {
		date = time.Now()
	}

	msg := mail.NewMsg()
	msg.FromMailAddress(from)
	msg.ToMailAddress(to)
	msg.Subject(page.Subject)
	msg.SetMessageIDWithValue(m.EventID.String() + "@" + from.Address[strings.LastIndexByte(from.Address, '@')+1:])
	msg.SetDateWithValue(date)
	msg.SetUserAgent(userAgent)
	// The header Auto-Submitted says that automatic replies must not answer this mail (RFC
	// 3834).
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetBodyString(mail.TypeTextPlain, text+"\n")
	msg.AddAlternativeString(mail.TypeTextHTML, html.String())
	return msg, nil
}

// recipient reads a bare address. The errors of recipient have CodeInvalid and do not
// quote the address.
func recipient(address string) (*netmail.Address, error) {
	parsed, err := netmail.ParseAddress(address)
	if err != nil || parsed.Address != address || parsed.Name != "" {
		return nil, domain.Errorf(domain.CodeInvalid, "the recipient is not an e-mail address")
	}
	if parsed.Address, err = asciiDomain(address); err != nil {
		return nil, domain.Errorf(domain.CodeInvalid, "the recipient's domain is not a domain name")
	}
	return parsed, nil
}

// sender reads the sender's address. A name may stand before it.
func sender(address string) (*netmail.Address, error) {
	parsed, err := netmail.ParseAddress(address)
	if err != nil {
		return nil, fmt.Errorf("sender %q is not an e-mail address: %w", address, err)
	}
	if parsed.Address, err = asciiDomain(parsed.Address); err != nil {
		return nil, fmt.Errorf("sender %q has no valid domain: %w", address, err)
	}
	return parsed, nil
}

// asciiDomain converts an international domain of an address to the form that every mail
// server accepts, even a server without SMTPUTF8.
func asciiDomain(address string) (string, error) {
	at := strings.LastIndexByte(address, '@')
	host := address[at+1:]
	for i := range len(host) {
		if host[i] >= utf8.RuneSelf {
			ascii, err := idna.Lookup.ToASCII(host)
			return address[:at+1] + ascii, err
		}
	}
	return address, nil
}
