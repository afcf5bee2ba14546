package notify_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

const (
	mailUser     = "relay@example.com"
	mailPassword = "correct horse battery"
)

// mailSink is a real SMTP server that keeps the messages it gets. If a hook returns an
// error, the sink refuses that step. onReset only observes. With needsAuth the sink also
// refuses mails of clients that did not sign in.
type mailSink struct {
	addr      string
	tls       *tls.Config
	implicit  bool
	needsAuth bool

	onHello func() error
	onMail  func() error
	onRcpt  func() error
	onData  func(*smtp.Conn) error
	onReset func(*smtp.Conn) // after the answer to a message, too

	mu    sync.Mutex
	mails []sunkMail
}

type sunkMail struct {
	from string
	to   []string
	raw  []byte
	user string
	tls  bool
}

// start serves until the test ends.
func (s *mailSink) start(t *testing.T) *mailSink {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = listener.Addr().String()
	server := smtp.NewServer(smtp.BackendFunc(func(conn *smtp.Conn) (smtp.Session, error) {
		if s.onHello != nil {
			if err := s.onHello(); err != nil {
				return nil, err
			}
		}
		return &sinkSession{sink: s, conn: conn}, nil
	}))
	server.Domain = "localhost"
	server.AllowInsecureAuth = true
	server.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	if s.implicit {
		listener = tls.NewListener(listener, s.tls)
	} else {
		server.TLSConfig = s.tls
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		_ = listener.Close() // Serve may not have reached it yet
		<-done
	})
	return s
}

func (s *mailSink) received() []sunkMail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mails
}

type sinkSession struct {
	sink *mailSink
	conn *smtp.Conn
	mail sunkMail
	user string
}

func (s *sinkSession) AuthMechanisms() []string {
	if s.sink.needsAuth {
		return []string{sasl.Plain}
	}
	return nil
}

func (s *sinkSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != mailUser || password != mailPassword {
			return &smtp.SMTPError{
				Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8},
				Message: "wrong: " + password, // a careless server, which quotes the password
			}
		}
		s.user = user
		return nil
	}), nil
}

func (s *sinkSession) Mail(from string, _ *smtp.MailOptions) error {
	if s.sink.needsAuth && s.user == "" {
		return smtp.ErrAuthRequired
	}
	_, encrypted := s.conn.TLSConnectionState()
	s.mail = sunkMail{from: from, user: s.user, tls: encrypted}
	if s.sink.onMail != nil {
		return s.sink.onMail()
	}
	return nil
}

func (s *sinkSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.mail.to = append(s.mail.to, to)
	if s.sink.onRcpt != nil {
		return s.sink.onRcpt()
	}
	return nil
}

func (s *sinkSession) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.mail.raw = raw
	if s.sink.onData != nil {
		if err := s.sink.onData(s.conn); err != nil {
			return err
		}
	}
	s.sink.mu.Lock()
	s.sink.mails = append(s.sink.mails, s.mail)
	s.sink.mu.Unlock()
	return nil
}

func (s *sinkSession) Reset() {
	if s.sink.onReset != nil && s.mail.raw != nil {
		s.sink.onReset(s.conn)
	}
	s.mail = sunkMail{}
}

func (s *sinkSession) Logout() error { return nil }

// refusal returns a hook that refuses with this code and message.
func refusal(code int, message string) func() error {
	return func() error {
		return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 7, 1}, Message: message}
	}
}

// rawServer calls the function serve for each connection. The connection is closed when the
// function returns, or when the test ends.
func rawServer(t *testing.T, serve func(net.Conn)) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ended := make(chan struct{})
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			served := make(chan struct{})
			wg.Go(func() {
				defer close(served)
				serve(conn)
				_ = conn.Close()
			})
			wg.Go(func() {
				select {
				case <-served:
				case <-ended:
					_ = conn.Close()
				}
			})
		}
	})
	t.Cleanup(func() {
		close(ended)
		_ = listener.Close()
		wg.Wait()
	})
	return listener.Addr().String()
}

// Other things that a scripted server may do in place of an answer.
const (
	stalls = "stall"
	drops  = "drop"
)

// scriptedSMTP is a server that answers by the script: for "greeting", a
// command's verb, or "." for the end of a message, a line, stalls or drops.
// What the script leaves out succeeds.
func scriptedSMTP(t *testing.T, script map[string]string) (addr string) {
	t.Helper()
	return rawServer(t, func(conn net.Conn) {
		lines := bufio.NewScanner(conn)
		// answer reports whether to go on.
		answer := func(step, usual string) bool {
			if scripted, ok := script[step]; ok {
				usual = scripted
			}
			switch usual {
			case drops:
				return false
			case stalls:
				_, _ = io.Copy(io.Discard, conn)
				return false
			}
			_, err := io.WriteString(conn, usual+"\r\n")
			return err == nil
		}
		goOn := answer("greeting", "220 localhost ESMTP")
		for goOn && lines.Scan() {
			verb, _, _ := strings.Cut(strings.ToUpper(lines.Text()), " ")
			switch verb {
			case "EHLO":
				goOn = answer(verb, "250-localhost\r\n250-STARTTLS\r\n250 AUTH CRAM-MD5 PLAIN")
			case "DATA":
				if goOn = answer(verb, "354 go on"); !goOn || script[verb] != "" {
					continue
				}
				for lines.Scan() && lines.Text() != "." {
					continue
				}
				goOn = answer(".", "250 taken")
			case "QUIT":
				answer(verb, "221 bye")
				return
			default:
				goOn = answer(verb, "250 fine")
			}
		}
	})
}

// selfSigned makes a certificate for 127.0.0.1. It returns the TLS configurations
// of a server with that certificate and of a client that trusts it.
func selfSigned(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	serving := &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		MinVersion:   tls.VersionTLS12,
	}
	return serving, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}

var errDropped = errors.New("the connection was dropped")
