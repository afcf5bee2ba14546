package app_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"outboxd/app/servertest"
	"outboxd/domain/registration"
)

// The helper on returns the flags of a process that works on these servers and this data directory.
func on(databaseURL, redisURL, dataDir string) []string {
	return []string{"--database-url=" + databaseURL, "--redis-url=" + redisURL, "--data-dir=" + dataDir, "--notify=log"}
}

type userDocument struct {
	ID, Email     string
	Notifications []struct {
		Type, Message, Status string
		SentAt                *time.Time `json:"sent_at"`
	}
}

// awaitSent waits until a user's welcome has gone out.
func awaitSent(t *testing.T, api, id string) userDocument {
	t.Helper()
	var user userDocument
	eventually(t, "the notification is sent", func() bool {
		user = userDocument{}
		status := getJSON(t, api+usersPath+"/"+id, &user)
		return status == http.StatusOK && len(user.Notifications) == 1 && user.Notifications[0].Status == "SENT"
	})
	return user
}

type readiness struct {
	Status   string
	Roles    []string
	Warnings []string
	Checks   []struct{ Name, Status, Error string }
}

func TestRegistrationToMail(t *testing.T) {
	t.Parallel()
	databaseURL, redisURL, dataDir := servertest.Database(t), servertest.Redis(t), t.TempDir()
	p := start(t, append(on(databaseURL, redisURL, dataDir), "--relay-max-queue=notifications=100000")...)
	begun := time.Now()
	id := register(t, p.api, "ada@example.com")
	user := awaitSent(t, p.api, id)
	t.Logf("SENT %v after the request", time.Since(begun).Round(time.Millisecond))
	if n := user.Notifications[0]; user.Email != "ada@example.com" || n.Type != "USER_REGISTRATION" || n.SentAt == nil ||
		n.Message != "Welcome! Your account has been created successfully." {
		t.Errorf("got %+v", user)
	}
	if b := openLedger(t, databaseURL).await([]string{id}); b.Users != 1 || b.Charged != 0 {
		t.Errorf("the books say %+v", b)
	}
	if mails, repeats := countMails(t, dataDir); mails != 1 || repeats != 0 {
		t.Errorf("%d mails and %d repeats, want one mail", mails, repeats)
	}

	var ready readiness
	if status := getJSON(t, p.monitor+"/readyz", &ready); status != http.StatusOK || ready.Status != "ok" || len(ready.Checks) != 2 ||
		!slices.Equal(ready.Roles, []string{"api", "relay", "worker", "monitor"}) {
		t.Errorf("/readyz says %d %+v", status, ready)
	}
	if status, _ := get(t, p.monitor+"/healthz"); status != http.StatusOK {
		t.Errorf("/healthz says %d", status)
	}
	wantMetrics(t, p.monitor)
	wantProcessed(t, p.monitor, 1)
	p.stop()
	if log := p.log.String(); strings.Contains(log, "correct horse") || strings.Contains(log, `"level":"ERROR"`) {
		t.Error("the log has the password, or an error")
	}
}

func wantMetrics(t *testing.T, monitor string) {
	t.Helper()
	var text string
	// The worker counts after it has committed, and the leader measures
	// when it has come to lead.
	eventually(t, "/metrics counts the event and has the backlog", func() bool {
		_, text = get(t, monitor+"/metrics")
		return strings.Contains(text, "\noutboxd_worker_event_done_seconds_count 1\n") &&
			strings.Contains(text, "\noutboxd_relay_pending_events ") && strings.Contains(text, "\noutboxd_relay_oldest_snapshot_age_seconds{")
	})
	for _, line := range []string{
		`outboxd_build_info{commit="0123abc",version="1.2.3"} 1`,
		`outboxd_relay_events_total{outcome="enqueued"} 1`,
		`outboxd_relay_events_total{outcome="failed"} 0`,
		`outboxd_relay_events_total{outcome="dead"} 0`,
		`outboxd_relay_batch_events_sum 1`,
		`outboxd_relay_lag_seconds_count 1`,
		`outboxd_relay_breaker_open{server="queue"} 0`,
		`outboxd_relay_breaker_open{server="database"} 0`,
		`outboxd_relay_dead_letters 0`,
		`outboxd_relay_held_events 0`,
		`outboxd_relay_held_keys 0`,
		`outboxd_relay_oldest_held_age_seconds 0`,
		`outboxd_worker_tasks_total{outcome="done",type="email:send_notification"} 1`,
		`outboxd_worker_task_duration_seconds_count{type="email:send_notification"} 1`,
		`outboxd_http_requests_total{code="201",method="POST",route="/api/v1/users"} 1`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("/metrics lacks %s", line)
		}
	}
	for _, name := range []string{"go_goroutines", "process_open_fds", "outboxd_http_request_duration_seconds_bucket"} {
		if !strings.Contains(text, "\n"+name) {
			t.Errorf("/metrics lacks %s", name)
		}
	}
	wantCheckedMetrics(t, text)
	wantNamedMetrics(t, text)
}

// wantProcessed waits until Asynqmon's own API shows so many tasks, all of them
// processed, and kept for people to look at.
func wantProcessed(t *testing.T, monitor string, want int) {
	t.Helper()
	type queue struct {
		Queue                              string
		Processed, Failed, Size, Completed int
	}
	var list struct{ Queues []queue }
	wanted := queue{Queue: registration.NotificationQueue, Processed: want, Size: want, Completed: want}
	defer func() {
		if t.Failed() {
			t.Logf("Asynqmon shows %+v", list)
		}
	}()
	eventually(t, "Asynqmon shows the tasks as processed", func() bool {
		list.Queues = nil
		return getJSON(t, monitor+"/monitoring/tasks/api/queues", &list) == http.StatusOK && slices.Contains(list.Queues, wanted)
	})
}
