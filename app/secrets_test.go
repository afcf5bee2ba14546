package app_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"outboxd/app/servertest/certtest"
	"outboxd/app/servertest/postgrestest"
	"outboxd/app/servertest/redistest"
)

// TestSecretsRotateUnderARunningProcess changes the passwords at PostgreSQL and Redis, both behind TLS with
// client certificates, and closes all connections. Events go on without a restart.
func TestSecretsRotateUnderARunningProcess(t *testing.T) {
	t.Parallel()
	authority := certtest.New(t)
	cert, key := authority.Issue("redis.example.com")
	own, ownKey := authority.Issue("outboxd-redis")
	database := postgrestest.StartTLS(t, authority)
	server := redistest.StartProgram(t, "port 0", "tls-port PORT", "tls-ca-cert-file "+authority.CA, "tls-cert-file "+cert, "tls-key-file "+key,
		"user outboxd on >first +@all ~* &*", "user admin on >admin +@all ~* &*", "user default off")
	folder := t.TempDir()
	passwords := []string{filepath.Join(folder, "postgres"), filepath.Join(folder, "redis")}
	rotate := func(password string) {
		for _, name := range passwords {
			if err := os.WriteFile(name, []byte(password+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	rotate("first")
	p := start(t, "--database-url="+database, "--database-password-file="+passwords[0],
		"--redis-url=rediss://"+server.Address(), "--redis-username=outboxd", "--redis-password-file="+passwords[1],
		"--redis-tls-ca="+authority.CA, "--redis-tls-cert="+own, "--redis-tls-key="+ownKey, "--redis-tls-server-name=redis.example.com",
		"--data-dir="+t.TempDir(), "--notify=log")
	awaitSent(t, p.api, register(t, p.api, "ada@example.com"))

	rotate("second")
	pem, err := os.ReadFile(authority.CA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	pair, err := tls.LoadX509KeyPair(own, ownKey)
	if err != nil {
		t.Fatal(err)
	}
	admin := redis.NewClient(&redis.Options{Addr: server.Address(), Username: "admin", Password: "admin", TLSConfig: &tls.Config{
		RootCAs: roots, Certificates: []tls.Certificate{pair}, ServerName: "redis.example.com", MinVersion: tls.VersionTLS12,
	}})
	defer admin.Close()
	for _, command := range [][]any{{"ACL", "SETUSER", "outboxd", "resetpass", ">second"}, {"CLIENT", "KILL", "USER", "outboxd"}} {
		if err := admin.Do(t.Context(), command...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("outboxd", "first")
	conn, err := pgx.Connect(t.Context(), u.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), "ALTER ROLE outboxd PASSWORD 'second'; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'outboxd' AND pid <> pg_backend_pid()"); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		awaitSent(t, p.api, register(t, p.api, fmt.Sprintf("grace%d@example.com", n)))
	}
	p.stop()
}
