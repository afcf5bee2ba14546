package broker_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"outboxd/app/faulttest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/certtest"
	"outboxd/app/servertest/redistest"
	"outboxd/domain"
	"outboxd/domain/smallfile"
	"outboxd/jobs/broker"
)

func openWith(t *testing.T, o broker.Options) *broker.Redis {
	t.Helper()
	r, err := broker.Open(o, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// writeSecret replaces a file in one step, as orchestrators do.
func writeSecret(t *testing.T, path, text string) {
	t.Helper()
	next := path + ".next"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}

// tlsLines returns lines for redis.conf: Redis accepts only TLS connections, and only clients with a certificate.
func tlsLines(ca, cert, key string) []string {
	return []string{"port 0", "tls-port PORT", "tls-ca-cert-file " + ca, "tls-cert-file " + cert, "tls-key-file " + key, "tls-auth-clients yes", "tls-replication yes", "tls-cluster yes"}
}

// TestTLSAndRotatingPassword connects to a Redis that has a certificate of a private authority
// and asks for the client's certificate. Then the password changes.
func TestTLSAndRotatingPassword(t *testing.T) {
	t.Parallel()
	authority := certtest.New(t)
	cert, key := authority.Issue("redis.example.com")
	own, ownKey := authority.Issue("outboxd")
	server := redistest.StartProgram(t, append(tlsLines(authority.CA, cert, key), "user outboxd on >first +@all ~* &*", "user default off")...)
	password := filepath.Join(t.TempDir(), "password")
	writeSecret(t, password, "first\n")
	url := fmt.Sprintf("rediss://127.0.0.1:%d/2", server.Port)
	access := broker.TLS{CA: authority.CA, Cert: own, Key: ownKey, ServerName: "redis.example.com"}
	r := openWith(t, broker.Options{URL: url, Username: "outboxd", PasswordFile: smallfile.Secret(password), TLS: access})
	if err := r.Client().Set(t.Context(), "a", "b", 0).Err(); err != nil {
		t.Fatal(err)
	}
	client, _ := r.Client().(*redis.Client)
	if client.Options().DB != 2 {
		t.Errorf("database %d, want 2", client.Options().DB)
	}

	for name, wrong := range map[string]broker.TLS{
		"another authority":     {Cert: own, Key: ownKey, ServerName: "redis.example.com"},
		"another name":          {CA: authority.CA, Cert: own, Key: ownKey, ServerName: "other.example.com"},
		"no certificate of its": {CA: authority.CA, ServerName: "redis.example.com"},
	} {
		err := openWith(t, broker.Options{URL: url, Username: "outboxd", PasswordFile: smallfile.Secret(password), TLS: wrong}).Client().Ping(t.Context()).Err()
		if err == nil || !broker.IsOutage(err) {
			t.Errorf("%s: %v, want an outage", name, err)
		}
	}

	// The new password is in Redis first, then in the file.
	if err := r.Client().Do(t.Context(), "ACL", "SETUSER", "outboxd", "resetpass", ">second").Err(); err != nil {
		t.Fatal(err)
	}
	if err := r.Client().Ping(t.Context()).Err(); err != nil {
		t.Errorf("a connection that was made before: %v", err)
	}
	fresh := r.NewDirectClient(1)
	defer fresh.Close()
	if err := fresh.Ping(t.Context()).Err(); err == nil || !broker.IsOutage(err) {
		t.Errorf("with the old password: %v, want an outage", err)
	}
	writeSecret(t, password, "second\n")
	if err := fresh.Ping(t.Context()).Err(); err != nil {
		t.Errorf("with the new password: %v", err)
	}
}

// TestClusterWithTLS connects to a cluster of one node, which announces an address. The client dials that address too
// with the authority, the certificate and the server name of the options.
func TestClusterWithTLS(t *testing.T) {
	t.Parallel()
	authority := certtest.New(t)
	cert, key := authority.Issue("redis.example.com")
	own, ownKey := authority.Issue("outboxd")
	server := redistest.StartProgram(t, append(tlsLines(authority.CA, cert, key), "cluster-enabled yes", fmt.Sprintf("cluster-port %d", servertest.FreePort(t)),
		"cluster-announce-ip 127.0.0.1", "user outboxd on >first +@all ~* &*", "user default off")...)
	access := broker.TLS{CA: authority.CA, Cert: own, Key: ownKey, ServerName: "redis.example.com"}
	node := openWith(t, broker.Options{URL: fmt.Sprintf("rediss://outboxd:first@127.0.0.1:%d", server.Port), TLS: access})
	if err := node.Client().Do(t.Context(), "CLUSTER", "ADDSLOTSRANGE", 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	// The node does not announce the host name that the URL has.
	r := openWith(t, broker.Options{URL: fmt.Sprintf("rediss-cluster://outboxd:first@localhost:%d", server.Port), TLS: access})
	servertest.Eventually(t, "the cluster takes a key over TLS", func() bool { return r.Client().Set(t.Context(), "a", "b", 0).Err() == nil })
	masters, err := r.Masters(t.Context())
	if err != nil || len(masters) != 1 {
		t.Fatalf("%d masters, %v", len(masters), err)
	}
	if got := masters[0].Get(t.Context(), "a").Val(); got != "b" {
		t.Errorf("the master has %q", got)
	}
}

func TestFilesThatCannotBeReadAreNamedAtTheStart(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty")
	writeSecret(t, empty, "\n")
	for want, o := range map[string]broker.Options{
		"/nowhere/password":  {URL: "redis://h", PasswordFile: "/nowhere/password"},
		"no password in it":  {URL: "redis://h", PasswordFile: smallfile.Secret(empty)},
		"/nowhere/sentinel":  {URL: "redis-sentinel://h?master=m", SentinelPasswordFile: "/nowhere/sentinel"},
		"/nowhere/ca":        {URL: "rediss://h", TLS: broker.TLS{CA: "/nowhere/ca"}},
		"--redis-tls-ca":     {URL: "rediss-cluster://h", TLS: broker.TLS{CA: empty}},
		"--redis-tls-key":    {URL: "rediss://h", TLS: broker.TLS{Cert: empty, Key: "/nowhere/key"}},
		"/dev/zero has more": {URL: "rediss://h", TLS: broker.TLS{CA: "/dev/zero"}},
		"--redis-tls-cert":   {URL: "rediss://h", TLS: broker.TLS{Cert: "/dev/zero"}},
	} {
		if _, err := broker.Open(o, 1); domain.ErrorCode(err) != domain.CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want an error with %q", o, err, want)
		}
	}
}

// sentinels starts a master, a replica and three Sentinels, with TLS, a user and a password for the
// data and a password for the Sentinels. It returns the master and the replica, and the Sentinels'
// addresses.
func sentinels(t *testing.T, authority *certtest.Authority) (nodes []*redistest.Program, addresses []string) {
	t.Helper()
	cert, key := authority.Issue("redis.example.com")
	secured := tlsLines(authority.CA, cert, key)
	data := append(slices.Clone(secured), "user outboxd on >data +@all ~* &*", "requirepass replicas", "masterauth replicas")
	master := redistest.StartProgram(t, data...)
	replica := redistest.StartProgram(t, append(data, fmt.Sprintf("replicaof 127.0.0.1 %d", master.Port))...)
	for range 3 {
		watcher := redistest.StartProgram(t, append(secured, "sentinel", "requirepass watchers",
			fmt.Sprintf("sentinel monitor main 127.0.0.1 %d 2", master.Port), "sentinel auth-pass main replicas",
			"sentinel down-after-milliseconds main 300", "sentinel failover-timeout main 2000", "sentinel sentinel-pass watchers")...)
		addresses = append(addresses, watcher.Address())
	}
	return []*redistest.Program{master, replica}, addresses
}

func TestSentinelsWithPasswordsAndTLS(t *testing.T) {
	t.Parallel()
	authority := certtest.New(t)
	own, ownKey := authority.Issue("outboxd")
	nodes, addresses := sentinels(t, authority)
	watchers := filepath.Join(t.TempDir(), "watchers")
	writeSecret(t, watchers, "watchers")
	r := openWith(t, broker.Options{
		URL:                  "rediss-sentinel://outboxd:data@" + strings.Join(addresses, ",") + "/3?master=main",
		SentinelPasswordFile: smallfile.Secret(watchers),
		TLS:                  broker.TLS{CA: authority.CA, Cert: own, Key: ownKey, ServerName: "redis.example.com"},
	})
	if err := r.Client().Set(t.Context(), "a", "b", 0).Err(); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "Sentinels know the replica", func() bool {
		return strings.Contains(r.Client().Info(t.Context(), "replication").Val(), "state=online")
	})
	nodes[0].Kill()
	servertest.Eventually(t, "the replica has taken over", func() bool { return r.Client().Set(t.Context(), "a", "c", 0).Err() == nil })
}

func TestAClusterURLOfAnotherRedisIsNamed(t *testing.T) {
	t.Parallel()
	url := faulttest.NewProxy(t, servertest.Redis(t)).URL()
	handle, err := broker.Open(broker.Options{URL: strings.TrimSuffix(strings.Replace(url, "redis://", "redis-cluster://", 1), "/0")}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer handle.Close()
	f, _ := broker.FindingOf(handle.Client().Set(t.Context(), "a", "b", 0).Err())
	if f.Code != "redis-cluster" || !strings.Contains(f.String(), "is not a cluster") || !strings.Contains(f.Remedy, "redis://") {
		t.Errorf("the finding is %+v", f)
	}
}
