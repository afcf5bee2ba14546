package chaos

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"outboxd/app/faulttest"
)

// injector carries faults out. It belongs to one goroutine.
type injector struct {
	fleet     *fleet
	servers   Servers
	admin     *pgxpool.Pool
	redis     redis.UniversalClient
	down      map[Server]bool
	changed   map[Kind]bool                                // by a change that lasts
	owed      map[Server][]func(ctx context.Context) error // to a server that was down when a change ended
	broken    error                                        // a change that could not be undone
	paused    map[*slot]int                                // how many pauses of the process last
	stepped   bool                                         // the clock is stepped; no second step begins, because the end of the first sets the clock right
	receivers []*receiver                                  // over HTTP; empty: none
	open      map[string]bool                              // keys whose slots are half moved
	say       func(format string, args ...any)
	suspended *slot // nil: none; it is neither killed nor paused
}

// possible reports whether this run has the servers that a kind of fault needs.
func (s Servers) possible(kind Kind) bool {
	switch kind {
	case BreakPostgres, HoldPostgres, StallPostgres:
		return s.PostgresNetwork != nil
	case BreakRedis, HoldRedis, StallRedis:
		return s.RedisNetwork != nil
	case FillDisk:
		return s.PostgresDisk != nil
	case StepClock:
		return s.PostgresClock != nil
	case KillMaster, KillReplica, FlushMaster, MoveSlot, BreakMove:
		return s.Cluster != nil
	case KillRedis, ForgetRedis, FlushRedis:
		return s.Cluster == nil
	default:
		return true
	}
}

// inject begins a fault and returns what the fault hit: "" if nothing was there to be
// hit, or if that is not known before its end. The returned function ends the fault and
// returns what it hit in all; it is nil if there is nothing to end.
//
// A new kind of fault needs a Kind, its odds in a Profile, and a case here or in
// interfere.
func (i *injector) inject(ctx context.Context, f Fault) (hit string, end func() (hit string), err error) {
	if !i.servers.possible(f.Kind) {
		return "", nil, nil
	}
	switch f.Kind {
	case Kill:
		s := i.victim(f.Target)
		if s == nil || s.signal(syscall.SIGKILL) == nil {
			return "", nil, nil
		}
		return s.name, nil, nil
	case Pause:
		s := i.victim(f.Target)
		if s == nil {
			return "", nil, nil
		}
		resume := s.signal(syscall.SIGSTOP)
		if resume == nil {
			return "", nil, nil
		}
		i.paused[s]++
		return s.name, func() string { resume(); i.paused[s]--; return s.name }, nil
	case Terminate:
		if i.down[i.servers.Postgres] {
			return "", nil, nil
		}
		n, err := terminate(ctx, i.admin, f.Target&1 == 0, f.Target, 1+int(f.Target>>1%4))
		if err != nil || n == 0 {
			return "", nil, err
		}
		return fmt.Sprintf("%d", n), nil, nil
	case RestartPostgres:
		return i.crash(i.servers.Postgres)
	case KillRedis:
		return i.crash(i.servers.RedisServer)
	case ForgetRedis:
		hit, end, err := i.crash(i.servers.RedisServer)
		if end != nil {
			i.servers.RedisServer.Flush()
		}
		return hit, end, err
	case FlushRedis:
		if i.down[i.servers.RedisServer] {
			return "", nil, nil
		}
		i.servers.RedisServer.Flush()
		return "it", nil, nil
	case BreakPostgres, HoldPostgres:
		return network(i.servers.PostgresNetwork, f, f.Kind == HoldPostgres)
	case BreakRedis, HoldRedis:
		return network(i.servers.RedisNetwork, f, f.Kind == HoldRedis)
	case StallPostgres:
		return stall(i.servers.PostgresNetwork)
	case StallRedis:
		return stall(i.servers.RedisNetwork)
	case FillDisk:
		return i.fill()
	case StepClock:
		return i.step(f.Target)
	case KillReceiver:
		return i.killReceiver(f.Target)
	case KillMaster, KillReplica, FlushMaster, MoveSlot, BreakMove:
		return i.breakCluster(f)
	case Suspend:
		return i.suspend(ctx, f.Target)
	default:
		return i.interfere(ctx, f)
	}
}

// interfere is the part of inject where no server breaks: it changes users, settings,
// tables, rows or tasks, as an operator or a producer could.
func (i *injector) interfere(ctx context.Context, f Fault) (hit string, end func() (hit string), err error) {
	switch f.Kind {
	case RotatePassword:
		return i.loseRedis(ctx, f.Kind, "it", []any{"resetpass", ">another"}, []any{"resetpass", ">" + fleetPassword})
	case DisableUser:
		return i.loseRedis(ctx, f.Kind, "it", []any{"off"}, []any{"on"})
	case TakeRedisRight:
		name := redisRights[f.Target%uint64(len(redisRights))]
		return i.loseRedis(ctx, f.Kind, name, []any{"-" + name}, []any{"+@all"})
	case TakeLogin:
		return i.takeLogin(ctx, f.Kind)
	case TakeRight:
		return i.takeRight(ctx, f.Kind, rights[f.Target%uint64(len(rights))])
	case ChangeSetting:
		return i.changeSetting(ctx, f.Kind, f.Target)
	case Publish:
		return i.publish(ctx, f.Kind)
	case ChangeTable:
		return i.changeTable(ctx, f.Kind, f.Target)
	case InsertOdd:
		return i.insertOdd(ctx, f.Target)
	case DeleteTasks:
		return i.deleteTasks(ctx, f.Target)
	default:
		return "", nil, fmt.Errorf("nobody knows how to do %q", f.Kind)
	}
}

// crash ends a server until the fault is over.
func (i *injector) crash(s Server) (string, func() string, error) {
	if i.down[s] {
		return "", nil, nil
	}
	s.Stop()
	i.down[s] = true
	return "it", func() string {
		s.Start()
		i.back(s)
		return "it"
	}, nil
}

// fill leaves PostgreSQL no room on its disk. PostgreSQL then refuses to write to its
// tables, and ends when it cannot write to its write-ahead log.
func (i *injector) fill() (string, func() string, error) {
	postgres, disk := i.servers.Postgres, i.servers.PostgresDisk
	if i.down[postgres] {
		return "", nil, nil
	}
	disk.Fill()
	i.down[postgres] = true // PostgreSQL may end at any moment
	return "it", func() string {
		disk.Free()
		i.back(postgres)
		return "it"
	}, nil
}

// longestStep is the longest step of a clock in seconds, in either direction.
const longestStep = 30

// step sets PostgreSQL's clock, and at the end sets it right.
func (i *injector) step(target uint64) (string, func() string, error) {
	if i.stepped {
		return "", nil, nil
	}
	way, hit := time.Second, "forwards and back"
	if target&1 == 1 {
		way, hit = -time.Second, "back and forwards"
	}
	i.servers.PostgresClock.Step(way * time.Duration(1+target>>1%longestStep))
	i.stepped = true
	return hit, func() string {
		i.servers.PostgresClock.Step(0)
		i.stepped = false
		return hit
	}, nil
}

// victim returns the process that a number chooses; nil if none runs. Each relay and
// worker is chosen twice as often as a producer: they are what is on trial.
func (i *injector) victim(target uint64) *slot {
	wanted := wanted(slices.Concat(i.fleet.all(), i.fleet.relays, i.fleet.workers))
	wanted = slices.DeleteFunc(wanted, func(s *slot) bool { return s == i.suspended })
	if len(wanted) == 0 {
		return nil
	}
	return wanted[target%uint64(len(wanted))]
}

func network(n *faulttest.Proxy, f Fault, hold bool) (string, func() string, error) {
	mend := n.Arm(faulttest.Trap{At: f.Where, Skip: f.Skip, Hold: hold})
	return "", func() string {
		if !mend() {
			return ""
		}
		return f.Where.String()
	}, nil
}

func stall(n *faulttest.Proxy) (string, func() string, error) {
	n.Stall()
	return "everybody", func() string { n.Resume(); return "everybody" }, nil
}
