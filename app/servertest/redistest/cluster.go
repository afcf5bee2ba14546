package redistest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"outboxd/app/servertest"
)

const clusterSlots = 16384

// Cluster is a Redis Cluster for one test. A method of Cluster that
// cannot do its work fails the test.
type Cluster struct {
	Masters  []*Program // at the start; their slots are in the same order
	Replicas []*Program // one for each master, if they were asked for
	t        testing.TB
}

// StartCluster starts a cluster of three masters, with a replica for each if
// replicas is true.
func StartCluster(t testing.TB, replicas bool) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	bus := map[*Program]int{}
	start := func() *Program {
		port := servertest.FreePort(t)
		node := StartProgram(t, "cluster-enabled yes", fmt.Sprintf("cluster-port %d", port), "cluster-node-timeout 1000", "cluster-require-full-coverage no",
			"repl-diskless-sync-delay 0")
		bus[node] = port
		return node
	}
	const masters = 3
	for n := range masters {
		node := start()
		c.Masters = append(c.Masters, node)
		c.do(node, "CLUSTER", "ADDSLOTSRANGE", n*clusterSlots/masters, (n+1)*clusterSlots/masters-1)
		c.do(node, "CLUSTER", "SET-CONFIG-EPOCH", n+1)
	}
	for n := 0; replicas && n < masters; n++ {
		c.Replicas = append(c.Replicas, start())
	}
	first := c.Masters[0]
	for node, port := range bus {
		if node != first {
			c.do(first, "CLUSTER", "MEET", "127.0.0.1", node.Port, port)
		}
	}
	nodes := len(bus)
	for node := range bus {
		c.await(node, "CLUSTER INFO", fmt.Sprintf("cluster_known_nodes:%d", nodes))
	}
	for n, replica := range c.Replicas {
		c.do(replica, "CLUSTER", "REPLICATE", c.do(c.Masters[n], "CLUSTER", "MYID"))
	}
	for node := range bus {
		c.await(node, "CLUSTER INFO", "cluster_slots_assigned:16384", "cluster_state:ok")
	}
	for _, replica := range c.Replicas {
		c.await(replica, "INFO replication", "master_link_status:up")
	}
	return c
}

// URL returns the cluster's address, as --redis-url takes it.
func (c *Cluster) URL() string {
	var addresses []string
	for _, node := range append(c.Masters, c.Replicas...) {
		addresses = append(addresses, node.Address())
	}
	return "redis-cluster://" + strings.Join(addresses, ",")
}

// Client returns a client of the cluster, which is closed at the end of the test.
func (c *Cluster) Client() *redis.ClusterClient {
	c.t.Helper()
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{c.Masters[0].Address(), c.Masters[1].Address()}})
	c.t.Cleanup(func() { _ = client.Close() })
	return client
}

// Flush deletes all data of a master.
func (c *Cluster) Flush(master *Program) {
	c.t.Helper()
	c.do(master, "FLUSHALL")
}

// OwnerOf returns the master that had the slot of a key when the cluster started.
func (c *Cluster) OwnerOf(key string) *Program {
	c.t.Helper()
	slot, _ := c.do(c.Masters[0], "CLUSTER", "KEYSLOT", key).(int64)
	for n, master := range c.Masters {
		if int(slot) < (n+1)*clusterSlots/len(c.Masters) {
			return master
		}
	}
	c.t.Fatalf("no master has slot %d", slot)
	return nil
}

func (c *Cluster) do(node *Program, args ...any) any {
	c.t.Helper()
	answer, err := c.ask(node, args...)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer
}

func (c *Cluster) ask(node *Program, args ...any) (any, error) {
	client := redis.NewClient(&redis.Options{Addr: node.Address(), Protocol: 2, MaxRetries: -1})
	defer func() { _ = client.Close() }()
	answer, err := client.Do(context.WithoutCancel(c.t.Context()), args...).Result()
	if err != nil {
		return nil, fmt.Errorf("%v: %w", args, err)
	}
	return answer, nil
}

func (c *Cluster) await(node *Program, command string, want ...string) {
	c.t.Helper()
	var args []any
	for word := range strings.FieldsSeq(command) {
		args = append(args, word)
	}
	var said string
	if !servertest.Within(servertest.Patience, func() bool {
		said = fmt.Sprint(c.do(node, args...))
		return !slices.ContainsFunc(want, func(text string) bool { return !strings.Contains(said, text) })
	}) {
		c.t.Fatalf("form a cluster: %s says\n%s\nwithout %q", command, said, want)
	}
}
