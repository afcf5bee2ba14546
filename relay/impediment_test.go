package relay_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"outboxd/app/faulttest"
	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/redistest"
	"outboxd/domain"
	"outboxd/jobs/broker"
	"outboxd/jobs/publish"
	"outboxd/relay"
)

// A mistake in Redis's configuration is an outage: every event stays and none is charged. The log
// and QueueUsable name the finding. When the mistake is mended, the same relay goes on.
func TestWhatTheOperatorHasToMendIsAnOutage(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		address     func(url string) string
		begin, mend []string
		finding     string
	}{
		"a wrong password": {
			address: as("u", "wrong"),
			mend:    []string{"ACL SETUSER u >wrong"}, finding: "redis-credentials",
		},
		"a disabled user": {
			begin: []string{"ACL SETUSER u off"}, mend: []string{"ACL SETUSER u on"}, finding: "redis-credentials",
		},
		"a password that was rotated": {
			begin: []string{"ACL SETUSER u resetpass >new"}, mend: []string{"ACL SETUSER u >secret"}, finding: "redis-credentials",
		},
		"a user who was deleted": {
			begin: []string{"ACL DELUSER u"}, mend: []string{"ACL SETUSER u on >secret ~* &* +@all"}, finding: "redis-credentials",
		},
		"no right to SELECT": {
			address: func(url string) string { return strings.Replace(as("u", "secret")(url), "?db=0", "?db=3", 1) },
			begin:   []string{"ACL SETUSER u -select"}, mend: []string{"ACL SETUSER u +select"}, finding: "redis-rights",
		},
		"no right to scripts": {
			begin: []string{"ACL SETUSER u -evalsha -eval"}, mend: []string{"ACL SETUSER u +evalsha +eval"}, finding: "redis-rights",
		},
		"no right to what the script does": {
			begin: []string{"ACL SETUSER u -lpush"}, mend: []string{"ACL SETUSER u +lpush"}, finding: "redis-rights",
		},
		"no right to the keys": {
			begin: []string{"ACL SETUSER u resetkeys ~other:*"}, mend: []string{"ACL SETUSER u ~asynq:*"}, finding: "redis-rights",
		},
		"a database out of range": {
			address: func(url string) string { return strings.Replace(url, "?db=0", "?db=1000000", 1) }, finding: "redis-database",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			log := &journal{}
			admin := connect(t, server.URL())
			do := func(line string) {
				t.Helper()
				var args []any
				for word := range strings.FieldsSeq(line) {
					args = append(args, word)
				}
				if err := admin.Do(t.Context(), args...).Err(); err != nil {
					t.Fatalf("%s: %v", line, err)
				}
			}
			do("ACL SETUSER u on >secret ~* &* +@all")
			address := as("u", "secret")
			if test.address != nil {
				address = test.address
			}
			f := newFixture(t, schematest.Database(t), server.URL(), func(o *relay.Options) {
				publisher := publish.New(openRedis(t, address(server.URL())))
				o.Publisher, o.Unfinished = publisher, publisher.Tasks()
				o.Logger = slog.New(slog.NewTextHandler(log, nil))
			})
			f.start()
			if test.address == nil { // under a running relay
				f.exec(emitMany, 1)
				f.eventually(1, "SELECT count(*) FROM outbox_sent")
			}
			before := f.count("SELECT count(*) FROM outbox_sent")
			for _, line := range test.begin {
				do(line)
			}
			_ = admin.Do(t.Context(), "CLIENT", "KILL", "USER", "u").Err()
			f.exec(emitMany, 500)
			f.relay.Wake()
			servertest.Eventually(f.t, "the relay has an outage", func() bool { return f.relay.QueueUsable() != nil })
			if found, _ := domain.FindingOf(f.relay.QueueUsable()); found.Code != test.finding || found.Remedy == "" {
				t.Errorf("the finding is %q, want %s: %v", found.Code, test.finding, f.relay.QueueUsable())
			}
			if n := strings.Count(log.String(), "relaying pauses"); n != 1 || !strings.Contains(log.String(), test.finding) {
				t.Errorf("the log tells of the outage %d times and has to name %s:\n%s", n, test.finding, log.String())
			}
			if pending, sent := f.count("SELECT count(*) FROM outbox WHERE attempts = 0"), f.count("SELECT count(*) FROM outbox_sent"); pending != 500 || sent != before {
				t.Errorf("%d events are pending and %d sent, want 500 and %d", pending, sent, before)
			}
			if test.mend == nil {
				return
			}
			for _, line := range test.mend {
				do(line)
			}
			f.eventually(500+before, "SELECT count(*) FROM outbox_sent WHERE attempts = 0")
			waiting := int64(0)
			for number := range 4 {
				waiting += connect(t, strings.Replace(server.URL(), "?db=0", "?db="+string(rune('0'+number)), 1)).LLen(t.Context(), "asynq:{default}:pending").Val()
			}
			if waiting != int64(500+before) {
				t.Errorf("%d tasks wait, want %d", waiting, 500+before)
			}
		})
	}
}

// A Redis that accepts scripts only in full works as well as any other. One that
// accepts no scripts is an outage.
func TestScriptsThatWereRenamedAway(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		gone   []string
		outage bool
	}{"EVALSHA": {[]string{"EVALSHA"}, false}, "EVALSHA and EVAL": {[]string{"EVALSHA", "EVAL"}, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy := faulttest.NewFaultProxy(t, servertest.Redis(t))
			for _, command := range test.gone {
				proxy.Answer(command, "-ERR unknown command '"+command+"', with args beginning with: 'x' \r\n")
			}
			f := newFixture(t, schematest.Database(t), proxy.URL(), nil)
			f.exec(emitMany, 5)
			f.start()
			if !test.outage {
				f.eventually(5, "SELECT count(*) FROM outbox_sent WHERE attempts = 0")
				if n := len(f.tasks("default")); n != 5 {
					t.Errorf("%d tasks, want 5", n)
				}
				return
			}
			servertest.Eventually(f.t, "the relay has an outage", func() bool { return f.relay.QueueUsable() != nil })
			if found, _ := domain.FindingOf(f.relay.QueueUsable()); found.Code != "redis-command" {
				t.Errorf("the finding is %q: %v", found.Code, f.relay.QueueUsable())
			}
			if n := f.count("SELECT count(*) FROM outbox WHERE attempts = 0"); n != 5 {
				t.Errorf("%d events are as they were, want 5", n)
			}
		})
	}
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func as(user, password string) func(url string) string {
	return func(url string) string { return strings.Replace(url, "://", "://"+user+":"+password+"@", 1) }
}

func connect(t *testing.T, url string) *redis.Client {
	t.Helper()
	opt, err := broker.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	client := opt.MakeRedisClient().(*redis.Client)
	t.Cleanup(func() { _ = client.Close() })
	return client
}
