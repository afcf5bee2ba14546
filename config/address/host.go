package address

import (
	"errors"
	"net"
	"net/mail"
	"net/url"
	"strconv"

	"outboxd/config/words"
)

// CheckHTTP returns an error unless text is the URL of an HTTP server.
func CheckHTTP(text string) error {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return errors.New("it is not a URL that begins with http:// or https:// and names a host")
	}
	return nil
}

// CheckListen returns an error unless text is an address to listen on: any host, any
// port, and port 0 too.
func CheckListen(text string) error { return checkAddr(text, 0, "127.0.0.1:8080") }

// CheckServer returns an error unless text is the address of a server: a host and a port
// above 0.
func CheckServer(text string) error {
	if host, _, err := net.SplitHostPort(text); err == nil && host == "" {
		return errors.New(words.Quote(text) + " names no host")
	}
	return checkAddr(text, 1, "mail.example.com:587")
}

func checkAddr(text string, lowest int, example string) error {
	_, port, err := net.SplitHostPort(text)
	if err != nil || !isPort(port, lowest) {
		return errors.New(words.Quote(text) + " is not an address: write it as host:port, such as " + example)
	}
	return nil
}

// CheckMailbox returns an error unless text is a mail address, with or without a person's
// name.
func CheckMailbox(text string) error {
	if _, err := mail.ParseAddress(text); err != nil {
		return errors.New(words.Quote(text) + " is not a mail address: write it as no-reply@example.com or Example <no-reply@example.com>")
	}
	return nil
}

func isPort(text string, lowest int) bool {
	n, err := strconv.Atoi(text)
	return err == nil && n >= lowest && n <= 65535
}

func isNumber(text string) bool {
	_, err := strconv.ParseUint(text, 10, 16)
	return err == nil
}
