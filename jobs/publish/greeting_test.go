package publish_test

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/app/faulttest"
	"outboxd/app/servertest/redistest"
	"outboxd/domain"
	"outboxd/jobs/inspect"
	"outboxd/jobs/jobstest"
	"outboxd/jobs/lookup"
	"outboxd/jobs/publish"
)

// If Redis answers the greeting of a connection with an error, each command
// that was to go over it fails with that error. Nothing of a batch may look as
// if Redis had it.
func TestNothingIsDeliveredOverAConnectionThatWasTurnedAway(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*testing.T, *redis.Client, *url.URL){
		"a wrong password": func(t *testing.T, admin *redis.Client, u *url.URL) {
			jobstest.Allow(t, admin, "default", "resetpass", ">secret")
			addUser(u, "default", "wrong")
		},
		"an unknown user": func(_ *testing.T, _ *redis.Client, u *url.URL) { addUser(u, "nobody", "x") },
		"a database out of range": func(_ *testing.T, _ *redis.Client, u *url.URL) {
			setDatabase(u, "1000000")
		},
		"no right to SELECT": func(t *testing.T, admin *redis.Client, u *url.URL) {
			jobstest.Allow(t, admin, "u", "on", ">secret", "~*", "&*", "+@all", "-select")
			addUser(u, "u", "secret")
			setDatabase(u, "3")
		},
		"a disabled user": func(t *testing.T, admin *redis.Client, u *url.URL) {
			jobstest.Allow(t, admin, "u", "off", ">secret", "~*", "&*", "+@all")
			addUser(u, "u", "secret")
		},
		"a password that is wanted": func(t *testing.T, admin *redis.Client, _ *url.URL) {
			jobstest.Allow(t, admin, "default", "resetpass", ">secret")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			_, admin := jobstest.Publisher(t, server.URL())
			if err := admin.Ping(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			address, err := url.Parse(server.URL())
			if err != nil {
				t.Fatal(err)
			}
			change(t, admin, address)
			publisher, _ := jobstest.Publisher(t, address.String())
			for i, r := range publisher.Publish(t.Context(), jobstest.Events(20)) {
				if r.Answer != domain.Unanswered || domain.ErrorCode(r.Failure()) != domain.CodeUnavailable {
					t.Fatalf("event %d: %+v, want no answer", i, r)
				}
			}
			for question, ask := range questions(t, publisher, address.String()) {
				if err := ask(t.Context()); domain.ErrorCode(err) != domain.CodeUnavailable {
					t.Errorf("%s: %v, want unavailable", question, err)
				}
			}
		})
	}
}

// The answer to a greeting is no answer to the command for which the connection was opened, whatever it says. An empty
// one does not make keys look absent.
func TestTheAnswerToAGreetingAnswersNoCommand(t *testing.T) {
	t.Parallel()
	for name, reply := range map[string]string{
		"nil":         "$-1\r\n",
		"NOSCRIPT":    "-NOSCRIPT No matching script. Please use EVAL.\r\n",
		"WRONGTYPE":   "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
		"NOPERM":      "-NOPERM this user has no permissions to access one of the keys used as arguments\r\n",
		"not known":   "-ERR unknown command\r\n",
		"a string":    "+1\r\n",
		"not a reply": "?\r\n",
	} {
		for _, command := range []string{"AUTH", "SELECT"} {
			t.Run(command+" "+name, func(t *testing.T) {
				t.Parallel()
				m := faulttest.NewMatrix(t, faulttest.Command{
					Name: command, Greeting: true, Password: true, Usual: map[string]string{"HELLO": "-ERR unknown command 'HELLO'\r\n", "AUTH": "+OK\r\n"},
				})
				m.Break(command, faulttest.Fault{Reply: reply})
				publisher, _ := jobstest.Publisher(t, m.Proxied)
				for i, r := range publisher.Publish(t.Context(), jobstest.Events(3)) {
					if r.Answer != domain.Unanswered || domain.ErrorCode(r.Failure()) != domain.CodeUnavailable {
						t.Fatalf("event %d: %+v, want no answer", i, r)
					}
					if _, known := domain.FindingOf(r.Failure()); !known {
						t.Errorf("event %d: no finding: %v", i, r.Failure())
					}
				}
				for question, ask := range questions(t, publisher, m.Proxied) {
					if err := ask(t.Context()); domain.ErrorCode(err) != domain.CodeUnavailable {
						t.Errorf("%s: %v, want unavailable", question, err)
					}
				}
			})
		}
	}
}

// questions returns calls to Redis that publish nothing, by name.
func questions(t *testing.T, publisher *publish.Publisher, address string) map[string]func(context.Context) error {
	t.Helper()
	redis := jobstest.OpenRedis(t, address)
	finder, overviews := lookup.New(redis), inspect.NewOverviews(redis)
	return map[string]func(context.Context) error{
		"Ping":       publisher.Ping,
		"Identify":   func(ctx context.Context) error { _, err := publisher.Identify(ctx, "a"); return err },
		"again":      func(ctx context.Context) error { _, err := publisher.IdentifyAnew(ctx, "a"); return err },
		"Unfinished": func(ctx context.Context) error { _, err := finder.Unfinished(ctx, jobstest.Events(1)); return err },
		"Lengths":    func(ctx context.Context) error { _, err := overviews.Lengths(ctx, []string{"a"}); return err },
		"Mark":       func(ctx context.Context) error { return publisher.Mark(ctx, "a", "b") },
		"Advance":    func(ctx context.Context) error { _, err := publisher.Advance(ctx, "a", "b", "c"); return err },
		"Look":       func(ctx context.Context) error { _, err := finder.Look(ctx, jobstest.Events(1)); return err },
		"Queues":     func(ctx context.Context) error { _, err := overviews.Queues(ctx); return err },
		"Workers":    func(ctx context.Context) error { _, err := overviews.Workers(ctx); return err },
	}
}

// addUser puts credentials into the URL of a Redis on a unix socket.
func addUser(u *url.URL, name, password string) { u.User = url.UserPassword(name, password) }

func setDatabase(u *url.URL, number string) {
	q := u.Query()
	q.Set("db", number)
	u.RawQuery = q.Encode()
}

// The rights that the remedy of redis-rights names are enough.
func TestTheRecommendedRightsSuffice(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	_, admin := jobstest.Publisher(t, server.URL())
	jobstest.Allow(t, admin, "u", "on", ">secret", "+@all", "-@dangerous", "+info", "+select", "~asynq:*", "&asynq:*")
	address, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	addUser(address, "u", "secret")
	setDatabase(address, "2")
	publisher, _ := jobstest.Publisher(t, address.String())
	events := jobstest.Events(3)
	events[2].Options.Unique = time.Hour
	for i, r := range publisher.Publish(t.Context(), events) {
		if r.Answer != domain.Accepted {
			t.Errorf("event %d: %+v", i, r)
		}
	}
	for question, ask := range questions(t, publisher, address.String()) {
		if err := ask(t.Context()); err != nil {
			t.Errorf("%s: %v", question, err)
		}
	}
}

// The examination finds missing rights that only enqueuing needs.
func TestTheExaminationNamesMissingRights(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	_, admin := jobstest.Publisher(t, server.URL())
	jobstest.Allow(t, admin, "u", "on", ">secret", "~*", "&*", "+@all", "-lpush")
	inspector := inspect.NewInspector(jobstest.OpenRedis(t, strings.Replace(server.URL(), "://", "://u:secret@", 1)), false, time.Now)
	found, err := inspector.Examine(t.Context())
	if err != nil || !slices.ContainsFunc(found, func(f domain.Finding) bool { return f.Code == "redis-rights" }) {
		t.Errorf("%v, %v", found, err)
	}
}

// A wrong password for Redis is reported as such, and not as an empty Redis.
func TestTheExaminationNamesWrongCredentials(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	inspector := inspect.NewInspector(jobstest.OpenRedis(t, strings.Replace(server.URL(), "://", "://nobody:x@", 1)), false, time.Now)
	found, err := inspector.Examine(t.Context())
	if f, known := domain.FindingOf(err); !known || f.Code != "redis-credentials" || strings.Contains(f.String(), "nobody") {
		t.Errorf("%v, %v", found, err)
	}
}
