package broker_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/hibiken/asynq"

	"outboxd/domain"
	"outboxd/jobs/broker"
)

func TestParseURL(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"redis://localhost:6379", "redis://:secret@localhost:6379/3", "rediss://localhost:6380",
		"redis-socket:///run/redis.sock?db=2", "redis-sentinel://a:26379,b:26379?master=m",
		"rediss-sentinel://u:p@a,[::1]:26379/2?master=m", "redis-cluster://a:1,b:2", "rediss-cluster://u:p@a",
	} {
		if _, err := broker.ParseURL(url); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	withUser, err := broker.ParseURL("redis://ada:secret@localhost:6379/3")
	if o, ok := withUser.(asynq.RedisClientOpt); err != nil || !ok || o.Username != "ada" || o.Password != "secret" || o.DB != 3 {
		t.Errorf("with a user name: %+v, %v", withUser, err)
	}
	for _, url := range []string{"", "localhost:6379", "http://:hunter2@localhost", "redis://:hunter2@localhost:x/y", "redis://:hunter2@h:1/abc"} {
		_, err := broker.ParseURL(url)
		if domain.ErrorCode(err) != domain.CodeInvalid || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v, want an error without the password", url, err)
		}
	}
	for _, url := range []string{"rediss-socket:///run/redis.sock?db=2", "rediss-socket:///1"} {
		_, err := broker.ParseURL(url)
		if domain.ErrorCode(err) != domain.CodeInvalid || !strings.Contains(err.Error(), "rediss-socket://") {
			t.Errorf("%q: %v, want an error that names the scheme", url, err)
		}
	}
}

// An error of a connection has a finding. It does not say that Redis serves nobody: a command that always takes too long
// fails alone, and then the duty that needs it fails.
func TestAnErrorOfAConnectionProvesNoOutage(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		io.EOF, context.DeadlineExceeded, os.ErrDeadlineExceeded, net.ErrClosed, fmt.Errorf("read: %w", syscall.ECONNRESET),
		&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED},
	} {
		if f, known := broker.FindingOf(err); !known || f.Code != domain.CodeRedisUnreachable || f.Outage {
			t.Errorf("%v: %+v, %t", err, f, known)
		}
	}
	if f, known := broker.FindingOf(context.Canceled); known {
		t.Errorf("the end of a process: %+v", f)
	}
}
