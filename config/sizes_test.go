package config_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"outboxd/config"
)

var (
	transactions = config.Handlers{Transactions: true}
	batches      = config.Handlers{Batches: true}
	outward      = config.Handlers{Outward: true}
	mixed        = config.Handlers{Transactions: true, Batches: true, Outward: true}
	none         = config.Handlers{}
)

// If no option sets them, a worker's tasks and connections follow from the processors and the
// handlers.
func TestSizesFollowFromTheMachineAndTheHandlers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		processors   int
		handlers     config.Handlers
		tasks, conns int
	}{
		{1, transactions, 8, 8},
		{2, transactions, 16, 16},
		{4, transactions, 32, 32},
		{64, transactions, 64, 64},
		{1, batches, 128, 8},
		{2, batches, 256, 16},
		{64, batches, 512, 64},
		{1, outward, 32, 8},
		{2, outward, 32, 16},
		{64, outward, 32, 32},
		{2, config.Handlers{Batches: true, Outward: true}, 32, 16},
		{2, mixed, 16, 16},
		{64, mixed, 32, 32},
		{2, none, 32, 16},
	} {
		c := setting{flags: []string{"--roles=relay,worker", "--relay-concurrency=3"}}.mustLoad(t)
		if got, want := c.SizesOn(test.processors, test.handlers), (config.Sizes{Tasks: test.tasks, TaskConns: test.conns, FailureConns: 2, DeliveryConns: 8, Pool: 4 + 3 + 2 + 8 + test.conns}); got != want {
			t.Errorf("%d processors, %+v: %+v, want %+v", test.processors, test.handlers, got, want)
		}
	}
}

// A number that is set counts, and the connections follow from it.
func TestSizesFollowFromWhatIsSet(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		tasks, maxConns string
		handlers        config.Handlers
		want            config.Sizes
	}{
		{"100", "0", transactions, config.Sizes{Tasks: 100, TaskConns: 100, FailureConns: 2, DeliveryConns: 8, Pool: 114}},
		{"1000", "0", batches, config.Sizes{Tasks: 1000, TaskConns: 16, FailureConns: 2, DeliveryConns: 8, Pool: 30}},
		{"5", "0", batches, config.Sizes{Tasks: 5, TaskConns: 5, FailureConns: 2, DeliveryConns: 8, Pool: 19}},
		{"0", "20", transactions, config.Sizes{Tasks: 6, TaskConns: 6, FailureConns: 2, DeliveryConns: 8, Pool: 20}},
		{"0", "20", batches, config.Sizes{Tasks: 256, TaskConns: 6, FailureConns: 2, DeliveryConns: 8, Pool: 20}},
		{"1000", "20", batches, config.Sizes{Tasks: 1000, TaskConns: 6, FailureConns: 2, DeliveryConns: 8, Pool: 20}},
		{"1", "15", outward, config.Sizes{Tasks: 1, TaskConns: 1, FailureConns: 2, DeliveryConns: 8, Pool: 15}},
		{"0", "16", transactions, config.Sizes{Tasks: 2, TaskConns: 2, FailureConns: 2, DeliveryConns: 8, Pool: 16}},
		{"0", "200", transactions, config.Sizes{Tasks: 16, TaskConns: 16, FailureConns: 2, DeliveryConns: 8, Pool: 200}},
	} {
		c := setting{flags: []string{"--roles=worker", "--worker-concurrency=" + test.tasks, "--database-max-conns=" + test.maxConns}}.mustLoad(t)
		if got := c.SizesOn(2, test.handlers); got != test.want {
			t.Errorf("%s tasks, %s connections, %+v: %+v, want %+v", test.tasks, test.maxConns, test.handlers, got, test.want)
		}
	}
}

// Whatever is set, whatever the machine and the handlers: while the tasks use all
// connections that they may use, each poller has one, and so have the record of failed
// tasks, the deliveries, the API and everything else.
func TestTasksLeaveConnectionsForTheOtherRoles(t *testing.T) {
	t.Parallel()
	for _, roles := range []string{"all", "worker", "relay,worker", "worker,api"} {
		for _, tasks := range []int{0, 1, 7, 300} {
			for _, h := range []config.Handlers{none, transactions, batches, outward, mixed} {
				flags := []string{"--roles=" + roles, "--relay-concurrency=3", fmt.Sprintf("--worker-concurrency=%d", tasks)}
				least := setting{flags: flags, handlers: h}.mustLoad(t).MinConns()
				for _, maxConns := range []int{0, least, least + 20} {
					c := setting{flags: append(flags, fmt.Sprintf("--database-max-conns=%d", maxConns)), handlers: h}.mustLoad(t)
					others := 4 + 2 + 8 // of housekeeping, of the failed tasks and of the deliveries
					if c.HasRole(config.RoleRelay) {
						others += 3
					}
					if c.HasRole(config.RoleAPI) {
						others += 8
					}
					for _, processors := range []int{1, 2, 3, 16, 128} {
						s := c.SizesOn(processors, h)
						if s.TaskConns+others > s.Pool || s.Tasks < 1 || s.TaskConns < 1 || s.FailureConns != 2 || s.DeliveryConns != 8 {
							t.Errorf("roles %s, %d tasks, %d connections, %d processors, %+v: %+v", roles, tasks, maxConns, processors, h, s)
						}
						if h.Transactions && s.TaskConns < s.Tasks {
							t.Errorf("roles %s, %d tasks, %d connections, %d processors: %+v, and each task needs a connection", roles, tasks, maxConns, processors, s)
						}
					}
				}
			}
		}
	}
}

// Setting database.max_conns to the number that 0 stands for changes nothing.
func TestTheDerivedPoolIsAccepted(t *testing.T) {
	t.Parallel()
	for _, roles := range []string{"all", "api", "monitor", "relay", "worker", "relay,worker", "worker,api"} {
		for _, tasks := range []int{0, 1, 300} {
			for _, processors := range []int{1, 2, 3, 16, 128} {
				for _, h := range []config.Handlers{none, transactions, batches, outward, mixed} {
					flags := []string{"--roles=" + roles, fmt.Sprintf("--worker-concurrency=%d", tasks)}
					want := setting{flags: flags, handlers: h}.mustLoad(t).SizesOn(processors, h)
					c := setting{flags: append(flags, fmt.Sprintf("--database-max-conns=%d", want.Pool)), handlers: h}.mustLoad(t)
					if got := c.SizesOn(processors, h); got != want {
						t.Errorf("roles %s, %d tasks, %d processors, %+v: %+v, want %+v", roles, tasks, processors, h, got, want)
					}
				}
			}
		}
	}
}

// The configuration that is shown says what 0 stands for in this process.
func TestTheConfigurationShowsDerivedSizes(t *testing.T) {
	t.Parallel()
	c := setting{flags: []string{"--roles=worker"}}.mustLoad(t)
	c.Serve(batches)
	want := c.SizesOn(runtime.GOMAXPROCS(0), batches)
	derived := map[string]string{}
	for _, s := range c.Settings() {
		if s.Derived != "" {
			derived[s.Key] = s.Derived
		}
	}
	got, _ := json.Marshal(derived)
	if string(got) != fmt.Sprintf(`{"database.max_conns":"%d","worker.concurrency":"%d"}`, want.Pool, want.Tasks) {
		t.Errorf("derived: %s", got)
	}
	if text := effective(t, c); !strings.Contains(text, fmt.Sprintf("concurrency: 0 # default; %d in this process", want.Tasks)) {
		t.Errorf("the configuration does not say how many tasks run:\n%s", text)
	}
	for _, s := range (setting{flags: []string{"--roles=relay", "--database-max-conns=40"}}).mustLoad(t).Settings() {
		if s.Derived != "" {
			t.Errorf("%s has the derived value %s", s.Key, s.Derived)
		}
	}
}
