package diagnosis

import (
	"slices"
	"strings"
	"time"

	"outboxd/domain"
	"outboxd/domain/overview"
)

// The codes of findings of package thorough that the quick facts can disprove. CodePaused is a finding of the quick
// facts, too.
const (
	CodePaused       = "queue-paused"
	CodeUnserved     = "queue-unserved"
	CodeUnhandled    = "type-unhandled"
	CodeKeysHeld     = "keys-held"
	CodeLeaderSilent = "leader-silent"
)

// Checked notes in the findings of a repeated check when the check began, by the clock of this process.
func Checked(found []domain.Finding, at time.Time) []domain.Finding {
	for i := range found {
		found[i].CheckedAt = at
	}
	return found
}

// outdates reports whether q, which is newer, disproves a finding of the slower checks, or whether q alone decides
// about it. The finding stays if the server that it is about did not answer when q was read.
func (q Quick) outdates(f domain.Finding) bool {
	switch f.Code {
	case "postgres-unreachable":
		return q.PostgresErr == nil
	case domain.CodeRedisUnreachable, CodePaused:
		return q.RedisErr == nil
	case CodeUnserved:
		return q.RedisErr == nil && !slices.ContainsFunc(f.Queues, q.isUnserved)
	case CodeUnhandled:
		return q.RedisErr == nil && !slices.ContainsFunc(f.Queues, q.hasTasks)
	case CodeKeysHeld:
		return q.PostgresErr == nil && q.Standing.Held == 0
	case CodeLeaderSilent:
		return q.PostgresErr == nil && q.sampledSince(f.CheckedAt)
	}
	return f.Outage && strings.HasPrefix(f.Code, "redis-") && q.RedisErr == nil
}

// isUnserved reports whether tasks wait in a queue that no worker serves.
func (q Quick) isUnserved(queue string) bool {
	serves := func(w overview.WorkerStatus) bool { _, served := w.Queues[queue]; return served }
	return q.hasTasks(queue) && !slices.ContainsFunc(q.Workers, serves)
}

func (q Quick) hasTasks(queue string) bool {
	return slices.ContainsFunc(q.Queues, func(s overview.QueueStatus) bool { return s.Name == queue && s.Unfinished() > 0 })
}

// sampledSince reports whether a leader has taken a sample since a time by the clock of this process.
func (q Quick) sampledSince(at time.Time) bool {
	s := q.Standing
	return !at.IsZero() && !s.SampledAt.IsZero() && s.At.Sub(s.SampledAt) < q.At.Sub(at)
}
