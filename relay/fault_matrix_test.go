package relay_test

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
	"time"

	"outboxd/app/faulttest"
	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/jobs/publish"
	"outboxd/relay"
	"outboxd/repository/heal"
)

// faultyCommand is a command that a relay sends, its leader among them, and what
// makes it send it.
type faultyCommand struct {
	name     string
	usual    map[string]string // what others are answered, so that it is sent
	greeting bool              // sent when a connection begins
	replicas bool
	password bool
	harmless bool // events arrive without it
}

var faultyCommands = []faultyCommand{
	{name: "HELLO", greeting: true, harmless: true},
	{name: "AUTH", greeting: true, password: true, usual: map[string]string{"HELLO": "-ERR unknown command 'HELLO'\r\n", "AUTH": "+OK\r\n"}},
	{name: "SELECT", greeting: true},
	{name: "CLIENT", greeting: true, harmless: true},
	{name: "SADD"},
	{name: "EVALSHA"},
	{name: "EVAL", usual: map[string]string{"EVALSHA": "-NOSCRIPT No matching script. Please use EVAL.\r\n"}},
	{name: "PUBLISH", harmless: true},
	{name: "SET", replicas: true, usual: map[string]string{"WAIT": ":1\r\n"}},
	{name: "WAIT", replicas: true, usual: map[string]string{"WAIT": ":1\r\n"}},
	{name: "GET", harmless: true},
	{name: "INFO", harmless: true},
}

// For each command that a relay sends and each way in which it can be answered
// wrongly, once or until it is mended: the task is in Redis or its event is pending, no
// attempt is charged, the relay says what is wrong, and goes on by itself.
func TestOnlyAPositiveAnswerCounts(t *testing.T) {
	t.Parallel()
	for i, command := range faultyCommands {
		t.Run(command.name, func(t *testing.T) {
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
	command faultyCommand
	proxy   *faulttest.FaultProxy
	tried   int
	healed  string // when the relay last healed
}

const perFault = 3 // events

func newMatrix(t *testing.T, command faultyCommand) *matrix {
	server := servertest.OwnRedis(t)
	direct := strings.Replace(server.URL(), "?db=0", "?db=1", 1)
	proxy := faulttest.NewFaultProxy(t, direct)
	for name, answer := range command.usual {
		proxy.Answer(name, answer)
	}
	url := servertest.Database(t)
	db := schematest.Connect(t, url)
	f := newFixture(t, url, direct, func(o *relay.Options) {
		address := proxy.URL()
		if command.password {
			address = strings.Replace(address, "://", "://:any@", 1)
		}
		publisher := publish.New(openRedis(t, address))
		if command.replicas {
			publisher.WaitReplicas(1)
		}
		o.Publisher, o.Unfinished, o.Concurrency = publisher, publisher.Tasks(), 1
		o.Healing = &relay.Healing{Queue: publisher, Memory: heal.NewQueueMemory(db), CheckInterval: 50 * time.Millisecond}
	})
	f.start()
	f.eventually(1, "SELECT count(*) FROM outbox_queue_identity WHERE canary <> ''")
	return &matrix{fixture: f, command: command, proxy: proxy}
}

func (m *matrix) try(wrong faulttest.NamedFault) {
	m.t.Helper()
	m.tried++
	queue := fmt.Sprintf("q%d", m.tried)
	what := m.command.name + " answered with " + wrong.Name
	m.options.Publisher.(*publish.Publisher).Renew() // a script is called by its hash again, and queues are told of
	m.proxy.Break(m.command.name, wrong.Fault)
	if m.command.greeting {
		m.proxy.Disconnect()
	}
	m.exec("INSERT INTO outbox (event_type, payload, queue) SELECT 'test:a', '', $1 FROM generate_series(1, $2::int)", queue, perFault)
	m.relay.Wake()
	var outage error
	if !m.within(15*time.Second, func() bool {
		outage = cmp.Or(outage, m.relay.QueueUsable())
		return m.proxy.Hits() > 0 && (outage != nil || m.pending(queue) == 0)
	}) {
		m.t.Errorf("%s: met %d times, and still %d events are pending without an outage", what, m.proxy.Hits(), m.pending(queue))
	}
	m.delivered(what, queue)
	if wrong.Finding != "" && outage != nil {
		if f, known := domain.FindingOf(outage); !known || f.Remedy == "" {
			m.t.Errorf("%s: the outage names no cure: %v", what, outage)
		}
	}
	if wrong.Finding != "" && m.command.name == "EVALSHA" && !wrong.Once && outage != nil {
		if f, _ := domain.FindingOf(outage); f.Code != wrong.Finding {
			m.t.Errorf("%s: the finding is %q, want %s: %v", what, f.Code, wrong.Finding, outage)
		}
	}
	if healed := m.heals(); healed != m.healed {
		m.t.Errorf("%s: everything was sent again, and nothing was lost", what)
		m.healed = healed
	}
	m.proxy.Mend()
	if !m.within(15*time.Second, func() bool { return m.pending(queue) == 0 }) {
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

// delivered looks that the task of each event that has left the outbox is there,
// and that no event was charged.
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

// notices looks that the leader has survived it all.
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
	if want := m.tried * perFault; !m.within(20*time.Second, func() bool { return tasks() == want }) {
		m.t.Errorf("%d of %d tasks came back after a loss", tasks(), want)
	}
}

func (m *matrix) within(limit time.Duration, done func() bool) bool {
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(limit); time.Now().Before(end); <-look.C {
		if done() {
			return true
		}
	}
	return done()
}
