package servertest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/app/child"
)

// TLSPostgres starts a PostgreSQL for one test on a port of 127.0.0.1. The server accepts only connections with TLS. A
// client needs a certificate of the authority, and connects as the role outboxd with the password "first". TLSPostgres
// returns a URL without the password, with sslmode verify-full and a client certificate.
func TLSPostgres(t testing.TB, authority *Authority) string {
	t.Helper()
	s := OwnPostgres(t)
	s.execute("ALTER ROLE outboxd PASSWORD 'first'")
	program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", s.process.Pid))
	if err != nil {
		t.Fatalf("find the program of a running PostgreSQL: %v", err)
	}
	name := parse(t, s.URL()).Path
	s.Stop()
	data := filepath.Join(s.options.DataDir, "postgres")
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
	port := FreePort(t)
	output, err := os.Create(filepath.Join(s.options.DataDir, "tls.log"))
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
	awaitTLS(t, process, strings.Replace(address.String(), "outboxd@", "outboxd:first@", 1), output.Name())
	return address.String()
}

func awaitTLS(t testing.TB, process *child.Process, address, log string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), stopLimit)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, address)
		if err == nil {
			_ = conn.Close(ctx)
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
			continue
		case <-process.Done():
		case <-ctx.Done():
		}
		said, _ := os.ReadFile(log)
		t.Fatalf("start PostgreSQL: %v; it says:\n%s", err, said)
	}
}
