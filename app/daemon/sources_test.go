package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/config"
	"outboxd/jobs/broker"
	"outboxd/relay"
)

func openSource(name string) *source {
	s := &source{name: name, log: slog.New(slog.DiscardHandler), opened: make(chan struct{})}
	close(s.opened)
	return s
}

// TestSourcesAreAskedAtTheSameTime has two silent sources, between which a third one answers.
func TestSourcesAreAskedAtTheSameTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &Daemon{sources: []*source{openSource("silent"), openSource("good"), openSource("mute"), openSource("twin")}}
		d.sources[3].twin.Store(true)
		begun := time.Now()
		answers := ask(t.Context(), d.distinct(), func(ctx context.Context, s *source) (string, error) {
			after := time.Hour
			if s.name == "good" {
				after = sourcePatience / 2
			}
			select {
			case <-ctx.Done():
				return "", ctx.Err()
			case <-time.After(after):
				return "found", nil
			}
		})
		if took := time.Since(begun); took != sourcePatience {
			t.Errorf("they took %v, want %v", took, sourcePatience)
		}
		if len(answers) != 3 || answers[0].err == nil || answers[1].found != "found" || answers[1].err != nil || answers[2].err == nil {
			t.Errorf("got %+v", answers)
		}
	})
}

// TestASourceIsOpenedAgainEveryTenSeconds has attempts that take eight seconds themselves.
func TestASourceIsOpenedAgainEveryTenSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var begun []time.Time
		opened := retry(t.Context(), func(context.Context) error {
			begun = append(begun, time.Now())
			if len(begun) == 20 {
				return nil
			}
			time.Sleep(8 * time.Second)
			return errFlaky
		}, func(error, time.Duration) {})
		if !opened || len(begun) != 20 {
			t.Fatalf("opened %t after %d attempts", opened, len(begun))
		}
		for i := 1; i < len(begun); i++ {
			if apart := begun[i].Sub(begun[i-1]); apart > 11*time.Second || i > 10 && apart < 9*time.Second {
				t.Errorf("attempt %d began %v after the one before", i, apart)
			}
		}
	})
}

// TestARestingPartOfASourceIsSeen has a poller that fails until it is mended, and another that
// works. The source counts as not served until the poller has run for a minute.
func TestARestingPartOfASourceIsSeen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var mended atomic.Bool
		s := openSource("orders")
		s.log = slog.New(slog.NewTextHandler(&log, nil))
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		works := func(ctx context.Context) error { <-ctx.Done(); return nil }
		for name, run := range map[string]func(context.Context) error{
			"poller 2":  works,
			examination: func(context.Context) error { panic("out of range") },
			"poller 1": func(ctx context.Context) error {
				if mended.Load() {
					return works(ctx)
				}
				return errors.New("a secret")
			},
		} {
			go func() {
				if err := s.endure(ctx, relay.Actor{Name: name, Run: run}); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}()
		}
		served := func() bool {
			synctest.Wait()
			found, _ := s.look(0)
			if len(found) == 1 && (found[0].Code != "database-not-served" || !strings.Contains(found[0].Found, "poller 1 rests after failures") || strings.Contains(found[0].Found, "secret")) {
				t.Errorf("it says %v", found)
			}
			if (len(found) == 0) != (s.open01() == 1) {
				t.Errorf("the gauge is %v with %v", s.open01(), found)
			}
			return len(found) == 0
		}
		sleep := time.Sleep
		sleep(time.Second)
		if !served() {
			t.Error("one failure makes it count as not served")
		}
		sleep(5 * time.Minute) // ten failures, the rest, and some failures after it
		if served() {
			t.Error("it counts as served, but its poller fails since it was started")
		}
		mended.Store(true)
		sleep(healthyAfter - time.Second)
		if served() {
			t.Error("it counts as served before its poller has run for a minute")
		}
		sleep(restAfterGivingUp + time.Minute)
		if !served() {
			t.Error("it counts as not served, but its poller runs")
		}
		stop()
		synctest.Wait()
		if !strings.Contains(log.String(), "the examination rests; the other databases go on") {
			t.Errorf("the log does not name the examination:\n%s", log.String())
		}
	})
}

// TestPagesThatOpenWhileTheProcessEnds closes a source before a page opens it.
func TestPagesThatOpenWhileTheProcessEnds(t *testing.T) {
	t.Parallel()
	redis, err := broker.New(asynq.RedisClientOpt{Addr: "127.0.0.1:1"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = redis.Close() })
	s := openSource("orders")
	s.cfg = config.Default()
	s.cfg.Database.ReadURL = "postgres://127.0.0.1:1/standby"
	s.d = &Daemon{cfg: s.cfg, redis: redis}
	s.close()
	s.openPages()
	if _, reads := s.reads.Standing(t.Context()); reads {
		t.Error("the pages may still open a pool on the standby, which nobody closes")
	}
}

// TestASourceReturnsWhatItCouldNotFinish has a part that fails after the process was told to end.
func TestASourceReturnsWhatItCouldNotFinish(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := openSource("orders")
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, stop)
		err := s.endure(ctx, relay.Actor{Name: "poller", Run: func(ctx context.Context) error { <-ctx.Done(); return errFlaky }})
		if !errors.Is(err, errFlaky) || s.faults["poller"] != nil {
			t.Errorf("got %v and faults %v, want the error alone", err, s.faults)
		}
	})
}
