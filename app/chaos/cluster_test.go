package chaos

import (
	"slices"
	"testing"

	"outboxd/app/faulttest"
	"outboxd/app/servertest/postgrestest"
	"outboxd/app/servertest/redistest"
)

// TestClusterStorm lets the nodes of a Redis Cluster die, lose their data and hand over slots, and counts what took
// effect. Only make cluster runs it.
func TestClusterStorm(t *testing.T) {
	t.Parallel()
	if !*cluster {
		return
	}
	repeat(t, func(o Options) Options {
		o.Profile, o.Duration, o.Rate = Clustered(*duration), *duration, *speed
		o.Servers = onCluster(t)
		o.Largest, o.Workers, o.Failing, o.Keyed, o.Ordered, o.Wide = 20, 2, 0.003, true, true, true
		return o
	})
}

// onCluster starts a PostgreSQL behind a proxy, and a Redis Cluster of three masters and three replicas.
func onCluster(t *testing.T) Servers {
	t.Helper()
	postgres, cluster := postgrestest.Start(t), redistest.StartCluster(t, true)
	network := faulttest.NewProxy(t, postgres.URL())
	return Servers{
		Database: network.URL(), AdminDatabase: postgres.URL(), Postgres: postgres, PostgresNetwork: network,
		Redis: cluster.URL(), AdminRedis: cluster.URL(), Cluster: cluster,
	}
}

// breakCluster is the part of inject for a Redis Cluster.
func (i *injector) breakCluster(f Fault) (hit string, end func() string, err error) {
	cluster := i.servers.Cluster
	key := keysOf("pending")[f.Target%uint64(len(queues))]
	owner, others := cluster.HolderOf(key)
	if owner == nil {
		i.mend(key)
		owner, others = cluster.HolderOf(key)
	}
	if owner == nil || len(others) == 0 {
		return "", nil, nil
	}
	other := others[f.Target>>8%uint64(len(others))]
	pick := f.Target>>16&1 == 0
	switch f.Kind {
	case FlushMaster:
		cluster.Flush(owner)
		return "it", nil, nil
	case KillMaster:
		if pick {
			owner = other
		}
		return i.crash(clusterNode{owner})
	case KillReplica:
		masters := slices.Concat(others, []*redistest.Program{owner})
		for _, node := range cluster.Nodes() {
			if !slices.Contains(masters, node) && !i.down[clusterNode{node}] {
				return i.crash(clusterNode{node})
			}
		}
		return "", nil, nil
	case MoveSlot:
		if err := cluster.BeginMove(key, owner, other); err != nil {
			return i.interrupted(key, err)
		}
		if err := cluster.EndMove(key, owner, other); err != nil {
			return i.interrupted(key, err)
		}
		return "to the end", nil, nil
	}
	if err := cluster.BeginMove(key, owner, other); err != nil {
		return i.interrupted(key, err)
	}
	victim, hit := owner, "the old master"
	if pick {
		victim, hit = other, "the new master"
	}
	_, restart, err := i.crash(clusterNode{victim})
	return hit, func() string {
		restart()
		i.mend(key)
		return hit
	}, err
}

// interrupted is called when a node refused a step of a move, because the cluster changed meanwhile.
func (i *injector) interrupted(key string, err error) (string, func() string, error) {
	i.say("a slot could not be moved: %v", err)
	i.open[key] = true
	return "in part", nil, nil
}

// mend ends a move that was interrupted. While nodes are away, that may fail; then mended tries again.
func (i *injector) mend(key string) {
	if err := i.servers.Cluster.MendSlot(key); err != nil {
		i.open[key] = true
		return
	}
	delete(i.open, key)
}

// mended ends the moves that were interrupted, and reports whether none is left.
func (i *injector) mended() bool {
	for key := range i.open {
		i.mend(key)
	}
	return len(i.open) == 0
}
