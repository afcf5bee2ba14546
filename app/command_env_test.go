package app_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"outboxd/app/servertest/certtest"
	"outboxd/app/servertest/redistest"
)

// TestThePrintedRedisCLIReachesRedis pastes what env --redis-cli prints into a shell, for Redis with a password, with
// users, with TLS and client certificates, and on a socket. Without quotes, a shell cuts or changes these names and
// passwords.
func TestThePrintedRedisCLIReachesRedis(t *testing.T) {
	t.Parallel()
	const password = `it's "$HOME" & a\b`
	authority := certtest.New(t)
	cert, key := authority.Issue("redis.example.com")
	own, ownKey := authority.Issue("outboxd's redis")
	file := writeFile(t, "the password", password+"\n")
	quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(password)
	socket := filepath.Join(t.TempDir(), "a socket")
	plain := redistest.StartProgram(t, `requirepass "`+quoted+`"`, `unixsocket "`+socket+`"`)
	secured := redistest.StartProgram(t, "port 0", "tls-port PORT", "tls-ca-cert-file "+authority.CA, "tls-cert-file "+cert, "tls-key-file "+key,
		`user ann on ">`+quoted+`" +@all ~* &*`, "user default off")
	for name, args := range map[string][]string{
		"a password in the URL":    {"--redis-url=redis://:it%27s%20%22$HOME%22%20&%20a%5Cb@" + plain.Address() + "/3"},
		"a file with the password": {"--redis-url=redis://" + plain.Address(), "--redis-password-file=" + file},
		"a socket":                 {"--redis-url=redis-socket://" + strings.ReplaceAll(socket, " ", "%20"), "--redis-password-file=" + file},
		"a user and TLS": {
			"--redis-url=rediss://" + secured.Address(), "--redis-username=ann", "--redis-password-file=" + file,
			"--redis-tls-ca=" + authority.CA, "--redis-tls-cert=" + own, "--redis-tls-key=" + ownKey, "--redis-tls-server-name=redis.example.com",
		},
	} {
		r := execute(t, nil, append([]string{"env", "--redis-cli", "--database-url=postgres://db/app"}, args...)...)
		if r.code != 0 {
			t.Errorf("%s: exit code %d: %s", name, r.code, r.stderr)
			continue
		}
		printed := strings.TrimSuffix(r.stdout, "\n")
		for _, script := range []string{printed + " PING", `eval "$0" PING`} {
			said, err := exec.CommandContext(t.Context(), "sh", "-c", script, printed).CombinedOutput()
			if err != nil || string(said) != "PONG\n" {
				t.Errorf("%s: %s says %q, %v", name, printed, said, err)
			}
		}
	}
}
