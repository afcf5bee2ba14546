package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"outboxd/app/faulttest"
)

// Kind is a kind of fault.
type Kind string

// The faults.
const (
	Kill            Kind = "SIGKILL of a process"
	Pause           Kind = "SIGSTOP of a process"
	Terminate       Kind = "PostgreSQL backends terminated"
	RestartPostgres Kind = "PostgreSQL restarted at once"
	KillRedis       Kind = "Redis killed, its file kept"
	ForgetRedis     Kind = "Redis killed, its file lost"
	FlushRedis      Kind = "Redis flushed"
	BreakPostgres   Kind = "connection to PostgreSQL dropped"
	HoldPostgres    Kind = "connection to PostgreSQL held"
	BreakRedis      Kind = "connection to Redis dropped"
	HoldRedis       Kind = "connection to Redis held"
	StallPostgres   Kind = "PostgreSQL silent for all"
	StallRedis      Kind = "Redis silent for all"
	FillDisk        Kind = "PostgreSQL's disk full"
	StepClock       Kind = "PostgreSQL's clock stepped"
	Suspend         Kind = "SIGSTOP of a relay in mid-batch, past its transaction's end"
	RotatePassword  Kind = "Redis password rotated"
	DisableUser     Kind = "Redis user disabled"
	TakeRedisRight  Kind = "right taken from the Redis user"
	TakeLogin       Kind = "login taken from the PostgreSQL role"
	TakeRight       Kind = "right taken from the PostgreSQL role"
	ChangeSetting   Kind = "setting of the role or database changed"
	Publish         Kind = "publication of all tables made"
	ChangeTable     Kind = "column added to a table in use"
	InsertOdd       Kind = "odd row inserted"
	DeleteTasks     Kind = "tasks deleted in Redis"
	KillReceiver    Kind = "receiver over HTTP killed"
	KillMaster      Kind = "master of the cluster killed, its data lost"
	KillReplica     Kind = "replica of the cluster killed"
	FlushMaster     Kind = "master of the cluster flushed"
	MoveSlot        Kind = "slot of a queue moved"
	BreakMove       Kind = "slot of a queue half moved, and one of both masters killed"
)

// Fault is one fault of a plan.
type Fault struct {
	At     time.Duration // since the beginning
	Kind   Kind
	Lasts  time.Duration      // until the fault ends, if it has an end; see also shortest
	Target uint64             // chooses among the processes or connections that are there by then, or how far a clock steps
	Where  faulttest.Position // only for drops and holds of a connection
	Skip   int                // how many requests pass before the drop or hold
}

// Odds is how often a kind of fault comes, relative to the others.
type Odds struct {
	Kind   Kind
	Weight int
}

// Profile says which faults fall in a run, how often, and how long they last.
type Profile struct {
	Name string
	Gap  time.Duration // between two faults, on average
	Odds []Odds
	// Losses come in turn, as every LossEvery-th fault. 0: never.
	Losses    []Kind
	LossEvery int
	// Lasts are the durations that faults may have, the shortest first.
	Lasts []time.Duration
}

// Conservation is for counting many events that pass through quickly: processes
// and backends die, and the servers stay.
func Conservation() Profile {
	return Profile{
		Name: "conservation", Gap: 500 * time.Millisecond, Lasts: []time.Duration{0},
		Odds: []Odds{{Kill, 1}, {Terminate, 1}},
	}
}

// General has the faults that outboxd survives with one PostgreSQL and one Redis, for a run of that length. A
// run of five minutes and more has pauses that outlast every timeout of relay, worker, Asynq and database
// session. The losses of data come regularly, so that even a run of ten seconds usually has each of them.
func General(duration time.Duration) Profile {
	p := Profile{
		Name: "general", Gap: 700 * time.Millisecond, Losses: []Kind{FlushRedis, ForgetRedis}, LossEvery: 5,
		Odds: []Odds{
			{Kill, 6},
			{Pause, 3},
			{Terminate, 5},
			{RestartPostgres, 1},
			{KillRedis, 1},
			{BreakPostgres, 6},
			{HoldPostgres, 3},
			{BreakRedis, 6},
			{HoldRedis, 3},
			{StallPostgres, 1},
			{StallRedis, 1},
			{FillDisk, 1},
			{StepClock, 2},
			{RotatePassword, 2},
			{DisableUser, 2},
			{TakeRedisRight, 3},
			{TakeLogin, 1},
			{TakeRight, 3},
			{ChangeSetting, 5},
			{Publish, 1},
			{ChangeTable, 2},
			{InsertOdd, 6},
			{DeleteTasks, 3},
			{KillReceiver, 4},
		},
	}
	if duration >= 2*suspension {
		p.Odds = append(p.Odds, Odds{Suspend, 1})
	}
	p.Lasts = lengths(duration)
	return p
}

// lengths are how long faults last in a run of that length.
func lengths(duration time.Duration) (lengths []time.Duration) {
	for _, length := range []time.Duration{100 * time.Millisecond, time.Second, 4 * time.Second, 17 * time.Second, 75 * time.Second} {
		if length <= duration/4 {
			lengths = append(lengths, length)
		}
	}
	return lengths
}

// Clustered has the faults of a Redis Cluster that outboxd survives: masters die, lose their data, and hand over
// slots, while processes die and connections to PostgreSQL drop. A master that is away for longer than
// cluster-node-timeout, which is a second here, is replaced by its replica. A master that comes back earlier is
// empty.
func Clustered(duration time.Duration) Profile {
	return Profile{
		Name: "cluster", Gap: 1500 * time.Millisecond, Losses: []Kind{FlushMaster, KillMaster}, LossEvery: 4, Lasts: lengths(min(duration, 20*time.Second)),
		Odds: []Odds{
			{KillMaster, 3},
			{KillReplica, 1},
			{MoveSlot, 6},
			{BreakMove, 2},
			{Kill, 3},
			{Terminate, 1},
			{BreakPostgres, 2},
		},
	}
}

// Only returns the profile with the kinds whose names contain one of these texts and without the
// others, to look for the cause of something. Without texts it returns the profile as it is.
func (p Profile) Only(texts ...string) Profile {
	if len(texts) == 0 {
		return p
	}
	named := func(kind Kind) bool {
		return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(string(kind), text) })
	}
	p.Odds = slices.DeleteFunc(slices.Clone(p.Odds), func(o Odds) bool { return !named(o.Kind) })
	p.Losses = slices.DeleteFunc(slices.Clone(p.Losses), func(kind Kind) bool { return !named(kind) })
	switch {
	case len(p.Losses) == 0:
		p.LossEvery = 0
	case len(p.Odds) == 0:
		p.LossEvery = 1
	}
	return p
}

// Plan is an endless sequence of faults that follows from a profile and a seed.
type Plan struct {
	profile Profile
	random  *rand.Rand
	at      time.Duration
	total   int
	drawn   int
}

// NewPlan returns the plan of a seed.
func NewPlan(profile Profile, seed uint64) *Plan {
	p := &Plan{profile: profile, random: rand.New(rand.NewPCG(seed, 0))}
	for _, odds := range profile.Odds {
		p.total += odds.Weight
	}
	return p
}

// suspension is how long a suspended relay stays stopped. PostgreSQL ends the relay's
// transaction before: after a minute in which no statement comes.
const suspension = 75 * time.Second

// dropWithin is how long a fault waits at most for a connection to drop.
const dropWithin = time.Second

// A fault that takes login or a right from the processes' role lasts lockedOut at most. A process
// that starts meanwhile ends with an error, as it should, and is started again and again.
const lockedOut = 4 * time.Second

// Next returns the next fault. Every fault takes the same number of draws, so
// that a change of one kind leaves the others where they were.
func (p *Plan) Next() Fault {
	p.at += time.Duration((0.1 + 0.9*p.random.ExpFloat64()) * float64(p.profile.Gap))
	f := Fault{At: p.at, Target: p.random.Uint64(), Where: faulttest.Position(p.random.IntN(int(faulttest.WithinReply) + 1)), Skip: p.random.IntN(40)}
	// Each duration comes half as often as the one before it, except the longest, which comes as
	// often as the one before it.
	i := 0
	for dice := p.random.Uint64(); dice&1 == 1 && i < len(p.profile.Lasts)-1; dice >>= 1 {
		i++
	}
	f.Lasts = p.profile.Lasts[i]
	draw := p.random.IntN(max(p.total, 1))
	for _, odds := range p.profile.Odds {
		if draw -= odds.Weight; draw < 0 {
			f.Kind = odds.Kind
			break
		}
	}
	p.drawn++
	if every := p.profile.LossEvery; every > 0 && p.drawn%every == 0 {
		f.Kind = p.profile.Losses[p.drawn/every%len(p.profile.Losses)]
	}
	if f.Kind == BreakPostgres || f.Kind == BreakRedis {
		f.Lasts = min(f.Lasts, dropWithin)
	}
	if f.Kind == TakeLogin || f.Kind == TakeRight {
		f.Lasts = min(f.Lasts, lockedOut)
	}
	if f.Kind == Suspend {
		f.Lasts = suspension
	}
	return f
}

// String implements fmt.Stringer.
func (f Fault) String() string {
	return fmt.Sprintf("%8.3fs %s", f.At.Seconds(), f.Kind)
}
