package config

import (
	"runtime"
	"strconv"
)

// Handlers says which kinds of handlers the worker of a process has.
type Handlers struct {
	Transactions bool // handlers that hold a transaction, and so a database connection, for one event
	Batches      bool // handlers that hold a transaction for many events
	Outward      bool // handlers that wait for another server and meanwhile hold no connection
}

// Sizes are the numbers of tasks and of database connections of a process.
type Sizes struct {
	Tasks         int // at once in the worker; 0 without RoleWorker
	TaskConns     int // most database connections of these tasks; 0 without RoleWorker
	FailureConns  int // database connections that only the record of failed tasks has; 0 without RoleWorker
	DeliveryConns int // most database connections of all deliveries together; 0 without RoleWorker
	Pool          int // all connections of the pool of one database
}

// The database connections that a process needs in addition to one for each poller and
// those of its tasks.
const (
	baseConns = 4 // housekeeping, health checks, examinations, pages, one to spare
	apiConns  = 8 // requests that use the database at the same time
	// A delivery holds no connection while it waits for its receiver. Questions and
	// confirmations of the same subscription go together. So a few connections serve all
	// subscriptions, however many there are.
	deliveryConns = 8
	// A handler that hangs keeps the connection of its task. So the record of failed tasks has
	// connections that no handler gets.
	failureConns = 2
)

// MaxTasks is the largest Worker.Concurrency.
const MaxTasks = 5000

// The number of tasks at once, if Worker.Concurrency is 0.
const (
	// A transaction mostly waits for PostgreSQL: for statements, and for the flush of its
	// commit, which PostgreSQL does for several transactions together. So more tasks than
	// processors are useful. The upper bound leaves room for other processes in PostgreSQL's
	// max_connections, which is 100 by default.
	ownPerProcessor, leastOwn, mostOwn = 8, 8, 64
	// The worker runs as many batches of a type at once as there are processors, and at least
	// two. A place for a task costs only memory. So each processor has more places than a
	// batch has tasks by default (100), up to mostBatch in all. The free places collect the
	// tasks of the next batch.
	batchPerProcessor, leastBatch, mostBatch = 128, 128, 512
	// Another server answers a mail or request, and limits how many it accepts at once from one
	// client. The processors of this machine do not matter. Mail servers often accept 50.
	outwardAtOnce = 32
)

// leastTaskConns is how many connections the tasks need at least if none of them holds one
// for its whole time: one for the questions and one for the confirmations of mails.
const leastTaskConns = 2

// part is a part of the pool, and what it is for.
type part struct {
	conns int
	use   string
}

// parts returns the parts of a pool in which the worker's tasks have the given number of
// connections.
func (c *Config) parts(tasks int) []part {
	var list []part
	if c.HasRole(RoleRelay) {
		list = append(list, part{c.Relay.Concurrency, "the pollers"})
	}
	if c.HasRole(RoleWorker) {
		list = append(list, part{tasks, "the tasks"}, part{failureConns, "the record of failed tasks"}, part{deliveryConns, "the deliveries"})
	}
	if c.HasRole(RoleAPI) {
		list = append(list, part{apiConns, "the API"})
	}
	return append(list, part{baseConns, "everything else"})
}

// poolOf returns the sum of the parts.
func (c *Config) poolOf(tasks int) (sum int) {
	for _, p := range c.parts(tasks) {
		sum += p.conns
	}
	return sum
}

// SizesOn returns the sizes of a process with this configuration and these handlers, on
// a machine with this number of processors.
func (c *Config) SizesOn(processors int, h Handlers) (s Sizes) {
	if c.HasRole(RoleWorker) {
		own := min(max(ownPerProcessor*processors, leastOwn), mostOwn)
		room := own
		if c.Database.MaxConns > 0 {
			room = max(c.Database.MaxConns-c.poolOf(0), leastTaskConns)
		}
		s.Tasks = c.Worker.Concurrency
		if s.Tasks == 0 {
			s.Tasks = tasksOn(processors, h, min(own, room))
		}
		s.TaskConns = s.Tasks
		if !h.Transactions {
			s.TaskConns = min(s.Tasks, own, room)
		}
		s.FailureConns, s.DeliveryConns = failureConns, deliveryConns
	}
	s.Pool = c.Database.MaxConns
	if s.Pool == 0 {
		s.Pool = c.poolOf(s.TaskConns)
	}
	return s
}

// Sizes returns the sizes of this process on this machine. The handlers are those that
// Load or Serve were given.
func (c *Config) Sizes() Sizes { return c.SizesOn(runtime.GOMAXPROCS(0), c.handlers) }

// Serve sets which kinds of handlers the worker of this process has. Load calls Serve with what its
// argument serves returns.
func (c *Config) Serve(h Handlers) { c.handlers = h }

// PoolSize returns the size of the pool of connections to one database: Database.MaxConns,
// or, if MaxConns is 0, the number that the process's roles use. A relay also opens
// connections outside of the pool, for LISTEN and for the leader's lock.
func (c *Config) PoolSize() int { return c.Sizes().Pool }

// MinConns returns the smallest Database.MaxConns, other than 0, that Load accepts: the
// sum of the parts of the pool, with the fewest connections that the tasks need.
func (c *Config) MinConns() int { return c.poolOf(c.leastForTasks()) }

// leastForTasks returns how many connections the worker's tasks need at least. Only a task
// with a transaction of its own holds a connection for its whole time. Other tasks share
// few connections, however many tasks there are.
func (c *Config) leastForTasks() int {
	switch tasks := c.Worker.Concurrency; {
	case tasks == 0:
		return leastTaskConns
	case c.handlers.Transactions:
		return tasks
	default:
		return min(tasks, leastTaskConns)
	}
}

// derived returns the value that an option with the value 0 stands for. It returns "" if the option
// is not 0, or if its 0 stands for no other value.
func (c *Config) derived(key string) string {
	switch {
	case key == "worker.concurrency" && c.Worker.Concurrency == 0 && c.HasRole(RoleWorker):
		return strconv.Itoa(c.Sizes().Tasks)
	case key == "database.max_conns" && c.Database.MaxConns == 0:
		return strconv.Itoa(c.Sizes().Pool)
	default:
		return ""
	}
}

// tasksOn returns how many tasks a worker runs at once if no option says it. The parameter own
// is the number for handlers that hold a transaction for one event. A worker takes tasks of all
// its types as they come, so the kind that needs the smallest number decides.
func tasksOn(processors int, h Handlers, own int) int {
	n := mostBatch
	if h.Batches {
		n = min(max(batchPerProcessor*processors, leastBatch), mostBatch)
	}
	if h.Outward || h == (Handlers{}) {
		n = min(n, outwardAtOnce)
	}
	if h.Transactions {
		n = min(n, own)
	}
	return n
}
