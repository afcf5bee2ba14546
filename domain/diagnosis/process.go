package diagnosis

import (
	"outboxd/domain"
)

// The names of the servers, for people.
const (
	PostgreSQL = "PostgreSQL"
	Redis      = "Redis"
)

// Breaker says whether the relay of this process has stopped using a server.
type Breaker struct {
	Server string // PostgreSQL or Redis
	Open   bool
}

// Process is the state of this outboxd process.
type Process struct {
	Breakers []Breaker // of this process's relay; none if there is no relay
	Draining bool      // it is shutting down
}

// Unusable returns the finding for an error that occurred while the facts of a server were read.
func Unusable(server string, err error) domain.Finding {
	if f, known := domain.FindingOf(err); known {
		return f
	}
	if server == PostgreSQL {
		return Of("postgres-unreachable", "PostgreSQL cannot be reached",
			"no event can be written, relayed or confirmed until it answers; none is lost",
			"start it, or correct its URL in --database-url; pg_isready says whether it takes connections")[0]
	}
	return Of(domain.CodeRedisUnreachable, "Redis cannot be reached",
		"events wait in PostgreSQL, and no task runs until it answers; none is lost",
		"start it, or name another with --redis-url; redis-cli PING says whether it answers")[0]
}

// SlowRedis returns the error of a reading that ended because Redis needed too long to count its tasks, although it
// answers a probe.
func SlowRedis() error {
	found := Of("redis-slow", "Redis answered too slowly to count the backlog",
		"the numbers of tasks, and the findings about them, are unknown at the moment; relays and workers go on",
		"none is needed if it passes; otherwise look for a loaded machine or a slow network, and look at redis-cli SLOWLOG GET")[0]
	return &domain.Error{Code: domain.CodeUnavailable, Message: found.Found, Finding: &found}
}

// NotServed returns the finding about one of several databases that this process does not serve at present. why
// must contain no address and no secret.
func NotServed(why string) domain.Finding {
	return Of("database-not-served", "this process does not serve the database: "+why,
		"its events wait; the events of the other databases go on; none is lost",
		"the log of this process says more; the process tries again by itself")[0]
}

// judge returns the findings about this process. The parameter answers says which of PostgreSQL and Redis answer.
func (p Process) judge(answers map[string]bool) (found []domain.Finding) {
	for _, b := range p.Breakers {
		if b.Open && answers[b.Server] {
			found = append(found, Of("breaker-open", "the relay of this process has stopped using "+b.Server+", which does answer",
				"events wait in the outbox", "the log of the relay says what the server refuses")...)
			break
		}
	}
	if p.Draining {
		found = append(found, Of("draining", "this process is shutting down", "its findings end with it", "none is needed")...)
	}
	return found
}
