package broker

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"

	"outboxd/domain"
	"outboxd/domain/line"
	"outboxd/domain/smallfile"
)

// TLS names the files for encrypted connections, and the name that the server's
// certificate must have. All are optional. The files are read for each new connection, so
// that changed files need no restart.
type TLS struct {
	CA         string // certificates of the authorities, in PEM; "": those of the system
	Cert, Key  string // the client's own, in PEM; one file may have both
	ServerName string // "": the host of the address
}

// config returns the TLS settings for a connection to addr.
func (t TLS) config(addr string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if c.ServerName == "" {
		c.ServerName, _, _ = net.SplitHostPort(addr)
	}
	if t.CA != "" {
		text, err := smallfile.Read(t.CA, certificatesMost)
		if err != nil {
			return nil, domain.Errorf(domain.CodeInvalid, "the certificates for Redis cannot be read: %v (--redis-tls-ca)", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, domain.Errorf(domain.CodeInvalid, "the file %s has no certificate in PEM (--redis-tls-ca)", t.CA)
		}
	}
	if t.Cert != "" {
		own, err := t.own()
		if err != nil {
			return nil, domain.Errorf(domain.CodeInvalid, "the client's certificate for Redis cannot be read: %v (--redis-tls-cert, --redis-tls-key)", err)
		}
		c.Certificates = []tls.Certificate{own}
	}
	return c, nil
}

// certificatesMost bounds the bytes of a file with certificates or a key, in case its name is wrong.
const certificatesMost = 4 << 20

// own reads the client's certificate and key.
func (t TLS) own() (tls.Certificate, error) {
	cert, err := smallfile.Read(t.Cert, certificatesMost)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := smallfile.Read(cmp.Or(t.Key, t.Cert), certificatesMost)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(cert, key)
}

// dialer dials the servers of one Redis: Sentinels, masters, replicas.
type dialer struct {
	net     *net.Dialer
	secured bool
	tls     TLS
}

func newDialer(secured bool, t TLS) *dialer {
	return &dialer{line.Dialer(dialTimeout), secured, t}
}

// dial opens a connection. dialTimeout limits the connection attempt together with the
// TLS handshake.
func (d *dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if !d.secured {
		return d.net.DialContext(ctx, network, addr)
	}
	config, err := d.tls.config(addr)
	if err != nil {
		return nil, err
	}
	return (&tls.Dialer{NetDialer: d.net, Config: config}).DialContext(ctx, network, addr)
}
