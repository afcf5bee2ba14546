package certtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"outboxd/app/servertest"
)

// Authority issues certificates for one test. Every account can enter the Authority's
// folder, but only the account of this process can read the files. A server that runs as
// another account needs copies.
type Authority struct {
	CA     string // file with its own certificate, in PEM
	folder string
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	t      testing.TB
}

// New makes an Authority. Clients and servers trust the Authority only if they get its
// file CA.
func New(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{folder: servertest.Folder(t), t: t}
	if err := os.Mkdir(a.folder, 0o755); err != nil { // servers run under another account
		t.Fatalf("make a folder for certificates: %v", err)
	}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.key = a.newKey()
	a.cert = template
	der := a.sign(template, a.key)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatalf("make an authority: %v", err)
	}
	a.cert, a.CA = cert, a.write("ca.pem", "CERTIFICATE", der)
	return a
}

// Issue makes a certificate for a host name and for 127.0.0.1. Issue returns the paths of the certificate's file and of
// its key's file.
func (a *Authority) Issue(name string) (cert, key string) {
	a.t.Helper()
	own := a.newKey()
	der := a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, own)
	secret, err := x509.MarshalECPrivateKey(own)
	if err != nil {
		a.t.Fatalf("write a key: %v", err)
	}
	return a.write(name+".pem", "CERTIFICATE", der), a.write(name+".key", "EC PRIVATE KEY", secret)
}

func (a *Authority) newKey() *ecdsa.PrivateKey {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatalf("make a key: %v", err)
	}
	return key
}

func (a *Authority) sign(template *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	a.t.Helper()
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatalf("sign a certificate: %v", err)
	}
	return der
}

func (a *Authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	path := filepath.Join(a.folder, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatalf("write %s: %v", name, err)
	}
	return path
}
