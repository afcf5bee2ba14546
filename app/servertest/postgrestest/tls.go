package postgrestest

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"outboxd/app/child"
	"outboxd/app/servertest"
	"outboxd/app/servertest/certtest"
)

// StartTLS starts a PostgreSQL for one test on a port of 127.0.0.1. The server accepts only connections with TLS. A
// client needs a certificate of the authority, and connects as the role outboxd with the password "first". StartTLS
// returns a URL without the password, with sslmode verify-full and a client certificate.
func StartTLS(t testing.TB, authority *certtest.Authority) string {
	t.Helper()
	s := Start(t)
	s.execute("ALTER ROLE outboxd PASSWORD 'first'")
	program, name, data := s.own.Program(), servertest.Parse(t, s.URL()).Path, s.data()
	s.Stop()
	cert, key := authority.Issue("localhost")
	account := accountOf(t, data)
	for source, target := range map[string]string{authority.CA: "ca.pem", cert: "server.pem", key: "server.key"} {
		text, err := os.ReadFile(source)
		path := filepath.Join(data, target)
		if err == nil {
			err = os.WriteFile(path, text, 0o600)
		}
		if err == nil && account != nil {
			err = os.Chown(path, int(account.Uid), int(account.Gid))
		}
		if err != nil {
			t.Fatalf("give PostgreSQL its certificate: %v", err)
		}
	}
	if err := os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte("hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n"), 0o600); err != nil {
		t.Fatalf("configure PostgreSQL: %v", err)
	}
	port := servertest.FreePort(t)
	output, err := os.Create(filepath.Join(s.own.Folder(), "tls.log"))
	if err != nil {
		t.Fatalf("make PostgreSQL's log: %v", err)
	}
	defer func() { _ = output.Close() }()
	cmd := exec.Command(program, "-D", data, "-h", "127.0.0.1", "-p", fmt.Sprint(port), "-k", "", "-c", "fsync=off",
		"-c", "ssl=on", "-c", "ssl_ca_file=ca.pem", "-c", "ssl_cert_file=server.pem", "-c", "ssl_key_file=server.key")
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: account}
	process, err := child.Start(cmd, syscall.SIGINT)
	if err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
	t.Cleanup(func() {
		_ = process.Signal(syscall.SIGQUIT)
		<-process.Done()
	})
	own, ownKey := authority.Issue("outboxd")
	address := url.URL{Scheme: "postgres", User: url.User("outboxd"), Host: fmt.Sprintf("localhost:%d", port), Path: name, RawQuery: url.Values{
		"sslmode": {"verify-full"}, "sslrootcert": {authority.CA}, "sslcert": {own}, "sslkey": {ownKey},
	}.Encode()}
	await(t, "PostgreSQL", process, strings.Replace(address.String(), "outboxd@", "outboxd:first@", 1), output.Name())
	return address.String()
}
