package thorough

import (
	"slices"
	"strconv"
	"strings"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/domain/words"
)

// RedisFacts are the facts that the slower checks read from Redis. A field that is nil was not read.
type RedisFacts struct {
	InProcess bool // it runs inside outboxd, and has no settings to be read
	Settings  *RedisSettings
	Condition *RedisCondition
	Clock     *Clock
	// Refused is the finding if Redis refused the test commands, which resemble those of a relay. Refused is nil if
	// Redis accepted them, or was not asked.
	Refused *domain.Finding
	Queues  *QueueFacts
}

// RedisSettings decide whether Redis keeps a queue's data. A field is nil if outboxd may not read the setting.
type RedisSettings struct {
	MaxMemory, Policy *string
	AppendOnly        *string // yes or no
	Save              *string // the save points; empty: none
}

// RedisCondition is the present state of Redis. A field is zero if Redis does not report it.
type RedisCondition struct {
	Version                             string
	UsedMemory, MaxMemory, MachineBytes int64
	AppendFailed                        bool // the last write to the append-only file
	SnapshotFailed, RewriteFailed       bool // the last snapshot, and the last rewrite of the append-only file
	Role                                string
	Clients, MaxClients                 int64
}

// Findings returns the findings about these facts, worst first.
func (r RedisFacts) Findings() []domain.Finding {
	var found []domain.Finding
	if r.InProcess {
		found = diagnosis.Of("redis-in-process", "Redis runs inside outboxd itself and forgets its queue at exit",
			"events that are not confirmed by then are sent again at the next start", "install redis-server, or give --redis-url")
	}
	found = slices.Concat(found, r.Settings.eviction(), r.Settings.persistence(), r.Settings.unknown(), r.Condition.judge(), r.Clock.judge("redis-clock", diagnosis.Redis))
	if r.Refused != nil {
		found = append(found, *r.Refused)
	}
	found = append(found, r.Queues.judge()...)
	return diagnosis.Once(found)
}

const noEviction = "noeviction"

// rewrite is what remains to do after CONFIG SET. Whoever instead writes appendonly yes into redis.conf by hand and
// restarts Redis may lose all tasks: Redis 7 then starts with an empty append-only file.
const rewrite = ", then CONFIG REWRITE; outboxd env --redis-cli prints redis-cli with its address"

func (s *RedisSettings) eviction() []domain.Finding {
	const remedy = "redis-cli CONFIG SET maxmemory-policy " + noEviction + rewrite
	switch {
	case s == nil || s.Policy == nil || *s.Policy == noEviction:
		return nil
	case s.MaxMemory != nil && *s.MaxMemory == "0":
		return diagnosis.Of("redis-eviction-policy", "Redis has the maxmemory-policy "+*s.Policy+", and no maxmemory that would make it effective",
			"once maxmemory is set, Redis may drop waiting tasks", remedy)
	default:
		return diagnosis.Of("redis-evicts", "Redis may evict keys: its maxmemory-policy is "+*s.Policy,
			"once it is full it drops waiting tasks without a message", remedy)
	}
}

func (s *RedisSettings) persistence() []domain.Finding {
	const remedy = "redis-cli CONFIG SET appendonly yes" + rewrite + "; do not restart Redis before redis-cli INFO persistence says aof_rewrite_in_progress:0"
	switch {
	case s == nil || s.AppendOnly == nil || *s.AppendOnly != "no" || s.Save == nil:
		return nil
	case *s.Save == "":
		return diagnosis.Of("redis-keeps-nothing", "Redis keeps nothing on disk: it has no append-only file and no save points",
			"a restart loses every waiting task; those from the outbox are then sent again, if the history still has them", remedy)
	default:
		return diagnosis.Of("redis-snapshots-only", "Redis keeps snapshots and no append-only file",
			"a crash loses the tasks since the last snapshot; those from the outbox are then sent again", remedy)
	}
}

func (s *RedisSettings) unknown() []domain.Finding {
	var what string
	switch {
	case s == nil:
		return nil
	case s.Policy == nil && s.AppendOnly == nil:
		what = "whether Redis may evict keys, and whether it keeps them on disk"
	case s.Policy == nil:
		what = "whether Redis may evict keys"
	case s.AppendOnly == nil:
		what = "whether Redis keeps its keys on disk"
	case *s.AppendOnly == "no" && s.Save == nil:
		what = "whether Redis, which has no append-only file, keeps snapshots"
	default:
		return nil
	}
	return diagnosis.Of("redis-settings-hidden", "Redis does not tell "+what,
		"a queue needs maxmemory-policy "+noEviction+" and an append-only file",
		"look at the settings where Redis is managed, or let its user run CONFIG GET or INFO")
}

// IsReplica reports whether Redis is a replica, which normally accepts no writes.
func (c *RedisCondition) IsReplica() bool { return c != nil && c.Role != "" && c.Role != "master" }

func (c *RedisCondition) judge() []domain.Finding {
	if c == nil {
		return nil
	}
	return slices.Concat(c.version(), c.memory(), c.disk(), c.role(), c.connections())
}

// version returns a finding if Redis is too old. Valkey reports the version of Redis with which it is compatible.
// That version counts for Valkey.
func (c *RedisCondition) version() []domain.Finding {
	if major, minor, known := version(c.Version); !known || major > diagnosis.RedisMajor || major == diagnosis.RedisMajor && minor >= diagnosis.RedisMinor {
		return nil
	}
	oldest := strconv.Itoa(diagnosis.RedisMajor) + "." + strconv.Itoa(diagnosis.RedisMinor)
	return diagnosis.Of("redis-version", "Redis is version "+c.Version+", older than "+oldest,
		"commands of outboxd and Asynq may fail", "upgrade Redis, or use Valkey")
}

func (c *RedisCondition) memory() []domain.Finding {
	mebibytes := func(bytes int64) string { return words.Count(bytes >> 20) }
	switch {
	case c.MaxMemory > 0 && c.UsedMemory*100 >= c.MaxMemory*diagnosis.RedisFull:
		return diagnosis.At(domain.FindingWarning, "redis-memory", "Redis uses "+mebibytes(c.UsedMemory)+" of the "+mebibytes(c.MaxMemory)+" MiB of its maxmemory",
			"once it is full it refuses tasks, and relaying pauses as in an outage, or it evicts them",
			"redis-cli CONFIG SET maxmemory to more, run more workers, or bound the queues with --relay-max-queue so that events wait in PostgreSQL")
	case c.MaxMemory == 0 && c.MachineBytes > 0 && c.UsedMemory*100 >= c.MachineBytes*diagnosis.RedisCrowded:
		return diagnosis.At(domain.FindingWarning, "redis-memory", "Redis has no maxmemory and uses "+mebibytes(c.UsedMemory)+" of the machine's "+mebibytes(c.MachineBytes)+" MiB",
			"when memory is short, the kernel may kill it or a snapshot may fail",
			"redis-cli CONFIG SET maxmemory, with maxmemory-policy noeviction, run more workers, or bound the queues with --relay-max-queue")
	}
	return nil
}

func (c *RedisCondition) disk() []domain.Finding {
	var what string
	switch {
	case c.AppendFailed:
		what = "the last write to its append-only file"
	case c.SnapshotFailed:
		what = "its last snapshot"
	case c.RewriteFailed:
		what = "the last rewrite of its append-only file"
	default:
		return nil
	}
	return diagnosis.At(domain.FindingWarning, "redis-disk", "Redis says that "+what+" failed",
		"it may refuse writes (MISCONF), and a restart loses the tasks that were not written; outboxd sends them again",
		"look into Redis's log, and for a full disk; then redis-cli BGSAVE or BGREWRITEAOF")
}

func (c *RedisCondition) role() []domain.Finding {
	if !c.IsReplica() {
		return nil
	}
	return diagnosis.Of("redis-read-only", "Redis is a replica and takes no tasks",
		"nothing is relayed, and no worker can take a task",
		"name the master in --redis-url, or Redis Sentinel (redis-sentinel://host:26379?master=name)")
}

func (c *RedisCondition) connections() []domain.Finding {
	if c.MaxClients == 0 || c.Clients*100 < c.MaxClients*(100-diagnosis.ConnectionsFree) {
		return nil
	}
	return diagnosis.At(domain.FindingWarning, "redis-connections", words.Count(c.Clients)+" of the "+words.Many(c.MaxClients, "connection")+" that maxclients allows are in use",
		"the next connection is refused, and relaying pauses as in an outage",
		"redis-cli CONFIG SET maxclients to more, and look at redis-cli CLIENT LIST")
}

// version reads the first two numbers of a version such as 7.2.4.
func version(text string) (major, minor int, known bool) {
	first, rest, _ := strings.Cut(text, ".")
	second, _, _ := strings.Cut(rest, ".")
	major, err := strconv.Atoi(first)
	minor, _ = strconv.Atoi(second)
	return major, minor, err == nil
}
