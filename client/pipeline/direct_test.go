package pipeline

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// reports has what go-redis logs. It is set before any test, because go-redis reads its logger without a lock.
var reports = &logged{}

func TestMain(m *testing.M) {
	redis.SetLogger(reports)
	os.Exit(m.Run())
}

type logged struct {
	mu    sync.Mutex
	lines []string
}

func (l *logged) Printf(_ context.Context, format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, v...))
}

// Direct makes a second client from the options of the first one. What belongs to one client alone must not be shared:
// go-redis would log a failure at each start of a worker.
func TestASecondClientIsMadeSilently(t *testing.T) {
	first, ok := asynq.RedisClientOpt{Addr: "127.0.0.1:6379"}.MakeRedisClient().(redis.UniversalClient)
	if !ok {
		t.Fatal("no client")
	}
	second := Direct(first)
	if second == first {
		t.Error("the second client is the first one")
	}
	for _, c := range []redis.UniversalClient{first, second} {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	reports.mu.Lock()
	defer reports.mu.Unlock()
	for _, line := range reports.lines {
		if strings.Contains(line, "maintnotifications") {
			t.Errorf("go-redis logs: %s", line)
		}
	}
}
