package relay_test

import (
	"cmp"
	"fmt"
	"testing"
	"time"

	"outboxd/app/faulttest"
	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/jobs/publish"
	"outboxd/relay"
	"outboxd/relay/lead"
	"outboxd/repository/heal"
)

// faultyCommand is a command that a relay or its leader sends.
type faultyCommand struct {
	faulttest.Command
	replicas bool
}

var faultyCommands = []faultyCommand{
	{Command: faulttest.Command{Name: "HELLO", Greeting: true}},
	{Command: faulttest.Command{Name: "AUTH", Greeting: true, Password: true, Usual: map[string]string{"HELLO": "-ERR unknown command 'HELLO'\r\n", "AUTH": "+OK\r\n"}}},
	{Command: faulttest.Command{Name: "SELECT", Greeting: true}},
	{Command: faulttest.Command{Name: "CLIENT", Greeting: true}},
	{Command: faulttest.Command{Name: "SADD"}},
	{Command: faulttest.Command{Name: "EVALSHA"}},
	{Command: faulttest.Command{Name: "EVAL", Usual: map[string]string{"EVALSHA": "-NOSCRIPT No matching script. Please use EVAL.\r\n"}}},
	{Command: faulttest.Command{Name: "PUBLISH"}},
	{Command: faulttest.Command{Name: "SET", Usual: map[string]string{"WAIT": ":1\r\n"}}, replicas: true},
	{Command: faulttest.Command{Name: "WAIT", Usual: map[string]string{"WAIT": ":1\r\n"}}, replicas: true},
	{Command: faulttest.Command{Name: "GET"}},
	{Command: faulttest.Command{Name: "INFO"}},
}

// For each of faultyCommands and each wrong answer, given once or until it is mended: the
// task is in Redis or its event is pending, no attempt is charged, the relay says what is
// wrong, and goes on by itself.
func TestOnlyAPositiveAnswerCounts(t *testing.T) {
	t.Parallel()
	for i, command := range faultyCommands {
		t.Run(command.Name, func(t *testing.T) {
			t.Parallel()
			m := newMatrix(t, command)
			for _, fault := range faulttest.Faults(i) {
				m.try(fault)
			}
			m.notices()
		})
	}
}

type matrix struct {
	*fixture
	command string
	faults  *faulttest.Matrix
	tried   int
	healed  string // when the relay last healed
}

const perFault = 3 // events

func newMatrix(t *testing.T, command faultyCommand) *matrix {
	faults := faulttest.NewMatrix(t, command.Command)
	url := schematest.Database(t)
	db := schematest.Connect(t, url)
	f := newFixture(t, url, faults.Direct, func(o *relay.Options) {
		publisher := publish.New(openRedis(t, faults.Proxied))
		if command.replicas {
			publisher.WaitReplicas(1)
		}
		o.Publisher, o.Unfinished, o.Concurrency = publisher, publisher.Tasks(), 1
		o.Healing = &lead.Healing{Queue: publisher, Memory: heal.NewQueueMemory(db), CheckInterval: 50 * time.Millisecond}
	})
	f.start()
	f.eventually(1, "SELECT count(*) FROM outbox_queue_identity WHERE canary <> ''")
	return &matrix{fixture: f, command: command.Name, faults: faults}
}

func (m *matrix) try(wrong faulttest.NamedFault) {
	m.t.Helper()
	m.tried++
	queue := fmt.Sprintf("q%d", m.tried)
	what := m.faults.What(wrong)
	m.options.Publisher.(*publish.Publisher).Renew() // so that scripts are called by their hash, and queues are added to asynq:queues, again
	m.faults.Play(wrong)
	m.exec("INSERT INTO outbox (event_type, payload, queue) SELECT 'test:a', '', $1 FROM generate_series(1, $2::int)", queue, perFault)
	m.relay.Wake()
	var outage error
	if !servertest.Within(servertest.Patience, func() bool {
		outage = cmp.Or(outage, m.relay.QueueUsable())
		return m.faults.Hits() > 0 && (outage != nil || m.pending(queue) == 0)
	}) {
		m.t.Errorf("%s: met %d times, and still %d events are pending without an outage", what, m.faults.Hits(), m.pending(queue))
	}
	m.delivered(what, queue)
	if wrong.Finding != "" && outage != nil {
		if f, known := domain.FindingOf(outage); !known || f.Remedy == "" {
			m.t.Errorf("%s: the outage names no cure: %v", what, outage)
		}
	}
	if wrong.Finding != "" && m.command == "EVALSHA" && !wrong.Once && outage != nil {
		if f, _ := domain.FindingOf(outage); f.Code != wrong.Finding {
			m.t.Errorf("%s: the finding is %q, want %s: %v", what, f.Code, wrong.Finding, outage)
		}
	}
	if healed := m.heals(); healed != m.healed {
		m.t.Errorf("%s: everything was sent again, and nothing was lost", what)
		m.healed = healed
	}
	m.faults.Mend()
	if !servertest.Within(servertest.Patience, func() bool { return m.pending(queue) == 0 }) {
		m.t.Fatalf("%s: mended, and still %d events are pending: %v", what, m.pending(queue), m.relay.QueueUsable())
	}
	m.delivered(what, queue)
	if n := m.redis.LLen(m.t.Context(), "asynq:{"+queue+"}:pending").Val(); n != perFault {
		m.t.Errorf("%s: %d tasks wait, want %d", what, n, perFault)
	}
	if !m.redis.SIsMember(m.t.Context(), "asynq:queues", queue).Val() {
		m.t.Errorf("%s: the queue is not known", what)
	}
}

func (m *matrix) pending(queue string) int {
	return m.count("SELECT count(*) FROM outbox WHERE queue = $1", queue)
}

// The method delivered checks that each event that has left the outbox has its task, and that no
// event was charged an attempt.
func (m *matrix) delivered(what, queue string) {
	m.t.Helper()
	if n := m.count("SELECT (SELECT count(*) FROM outbox_dead) + (SELECT count(*) FROM outbox WHERE attempts > 0) + (SELECT count(*) FROM outbox_sent WHERE attempts > 0)"); n != 0 {
		m.t.Fatalf("%s: %d events were charged", what, n)
	}
	sent, err := m.db.SQL().QueryContext(m.t.Context(), "SELECT id::text FROM outbox_sent WHERE queue = $1", queue)
	if err != nil {
		m.t.Fatal(err)
	}
	defer sent.Close()
	for sent.Next() {
		var id string
		if err := sent.Scan(&id); err != nil {
			m.t.Fatal(err)
		}
		if m.redis.Exists(m.t.Context(), "asynq:{"+queue+"}:t:"+id).Val() == 0 {
			m.t.Errorf("%s: event %s was delivered, and Redis does not have it", what, id)
		}
	}
	if err := sent.Err(); err != nil {
		m.t.Fatal(err)
	}
}

func (m *matrix) heals() string {
	m.t.Helper()
	var at string
	if err := m.db.SQL().QueryRowContext(m.t.Context(), "SELECT coalesce(healed_at::text, '') FROM outbox_queue_identity").Scan(&at); err != nil {
		m.t.Fatal(err)
	}
	return at
}

// The method notices checks that the leader still notices a loss after all of the faults.
func (m *matrix) notices() {
	m.t.Helper()
	if err := m.redis.FlushDB(m.t.Context()).Err(); err != nil {
		m.t.Fatal(err)
	}
	m.relay.Wake()
	tasks := func() (n int) {
		for q := range m.tried {
			n += int(m.redis.LLen(m.t.Context(), fmt.Sprintf("asynq:{q%d}:pending", q+1)).Val())
		}
		return n
	}
	if want := m.tried * perFault; !servertest.Within(servertest.Patience, func() bool { return tasks() == want }) {
		m.t.Errorf("%d of %d tasks came back after a loss", tasks(), want)
	}
}
