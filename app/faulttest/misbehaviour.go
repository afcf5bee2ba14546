package faulttest

import "flag"

// everyFault is set by make faults.
var everyFault = flag.Bool("every-fault", false, "try each command with each misbehaviour of Redis, instead of a sample")

// NamedFault is a wrong answer that Redis, or a proxy in front of Redis, can give
// to any command.
type NamedFault struct {
	Name    string
	Finding string // the code of the finding if enqueueing gets this answer; "": none
	Fault
}

// Faults returns the faults to try with the nth command. Each fault has two forms:
// it hits the command once, or until Mend. With -every-fault, Faults returns every
// fault in both forms. Otherwise it returns a sample: of ten successive commands,
// one command gets a fault's first form and another command gets its second form.
func Faults(nth int) []NamedFault {
	var faults []NamedFault
	for i, fault := range misbehaviours {
		for j, once := range []bool{true, false} {
			if *everyFault || (i+nth+sampled/2*j)%sampled == 0 {
				fault.Once = once
				faults = append(faults, fault)
			}
		}
	}
	for i := range faults {
		if faults[i].Once {
			faults[i].Name += ", once"
		}
	}
	return faults
}

// The sample has one in ten of all pairs of a command and a form of a fault.
const sampled = 10

func says(name, words, finding string) NamedFault {
	return NamedFault{name, finding, Fault{Reply: "-" + words + "\r\n"}}
}

var misbehaviours = []NamedFault{
	says("WRONGPASS", "WRONGPASS invalid username-password pair or user is disabled.", "redis-credentials"),
	says("NOAUTH", "NOAUTH Authentication required.", "redis-credentials"),
	says("NOPERM", "NOPERM this user has no permissions to run the 'x' command", "redis-rights"),
	says("NOPERM key", "NOPERM this user has no permissions to access one of the keys used as arguments", "redis-rights"),
	says("unknown command", "ERR unknown command 'X', with args beginning with: 'y' ", "redis-command"),
	says("DB index", "ERR DB index is out of range", "redis-database"),
	says("LOADING", "LOADING Redis is loading the dataset in memory", "redis-loading"),
	says("MASTERDOWN", "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", "redis-read-only"),
	says("READONLY", "READONLY You can't write against a read only replica.", "redis-read-only"),
	says("OOM", "OOM command not allowed when used memory > 'maxmemory'.", "redis-memory"),
	says("MISCONF", "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.", "redis-disk"),
	says("BUSY", "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.", "redis-busy"),
	says("TRYAGAIN", "TRYAGAIN Multiple keys request during rehashing of slot", "redis-cluster"),
	says("CLUSTERDOWN", "CLUSTERDOWN The cluster is down", "redis-cluster"),
	says("MOVED", "MOVED 3999 127.0.0.1:6381", "redis-cluster"),
	says("ASK", "ASK 3999 127.0.0.1:6381", "redis-cluster"),
	says("CROSSSLOT", "CROSSSLOT Keys in request don't hash to the same slot", "redis-cluster"),
	says("EXECABORT", "EXECABORT Transaction discarded because of previous errors.", "redis-answer"),
	says("NOSCRIPT", "NOSCRIPT No matching script. Please use EVAL.", "redis-command"),
	says("NOREPLICAS", "NOREPLICAS Not enough good replicas to write.", "redis-replicas"),
	says("maxclients", "ERR max number of clients reached", "redis-connections"),
	says("an unknown error", "ERR something that nobody has ever heard of", "redis-answer"),
	{"nil", "redis-answer", Fault{Reply: "$-1\r\n"}},
	{"a string", "redis-answer", Fault{Reply: "+1\r\n"}},
	{"an array", "redis-answer", Fault{Reply: "*1\r\n:1\r\n"}},
	{"another number", "redis-answer", Fault{Reply: ":7\r\n"}},
	{"minus one", "redis-answer", Fault{Reply: ":-1\r\n"}},
	{"no answer", "", Fault{Swallow: true}},
	{"a cut", "", Fault{Cut: true}},
	{"no answer to what is carried out", "", Fault{Swallow: true, Late: true}},
	{"a cut after it is carried out", "", Fault{Cut: true, Late: true}},
}
