package diagnosis

import (
	"slices"
	"strings"

	"outboxd/domain"
	"outboxd/domain/lost"
	"outboxd/domain/overview"
	"outboxd/domain/words"
)

// judgeLoss reports a loss that the leader has not healed yet.
func judgeLoss(reason string) []domain.Finding {
	if reason == "" {
		return nil
	}
	return Of("redis-lost-data", "Redis may have lost its data: "+reason,
		"tasks of events that are not confirmed may be gone; the leader sends these events again as soon as it notices the loss, if the history has them",
		"wait for the next check (--redis-check-interval); if no relay runs, start one: outboxd --roles=relay")
}

// judgeHeal reports that events were recently sent again, because Redis or PostgreSQL lost data or may have. It says
// how often that happened within an hour, because losses that come back have a lasting cause.
func judgeHeal(s overview.Standing) []domain.Finding {
	if len(s.LastHeals) == 0 || s.At.Sub(s.LastHeals[0].At) > HealRecent {
		return nil
	}
	var named, remedies, reasons []string
	for _, h := range s.LastHeals {
		named = append(named, words.Ago(s.At, h.At)+" (at "+h.At.UTC().Format("15:04:05")+" UTC), because "+h.Reason)
		if remedy := against(h.Reason); !slices.Contains(remedies, remedy) {
			remedies, reasons = append(remedies, remedy), append(reasons, h.Reason)
		}
	}
	for i := range remedies {
		if len(remedies) > 1 {
			remedies[i] = "(" + reasons[i] + ") " + remedies[i]
		}
	}
	if more := s.Heals - int64(len(named)); more > 0 {
		named = append(named, words.Many(more, "time")+" before that")
	}
	return Of("healed", "unconfirmed events were sent again "+words.Many(s.Heals, "time")+" in the last hour: "+strings.Join(named, "; "),
		"events may take effect later than usual; none takes effect in the database twice, but a mail or a request may have been repeated",
		strings.Join(remedies, "; ")+"; this warning ends 15 minutes after the last time")
}

// The helper against returns the remedy of a heal with this reason. Settings of Redis that lose data have findings of
// their own, with their own remedy.
func against(reason string) string {
	switch reason {
	case lost.QueueEmptied:
		return "Redis does not say who emptied it; redis-cli ACL LIST says who may: ACL SETUSER default -flushall -flushdb forbids it to the user default, and CONFIG REWRITE keeps that if Redis has a configuration file, see docs/guides/redis.md"
	case lost.QueueRestartedEmpty:
		return "look whether the folder of Redis (CONFIG GET dir) is the same after a restart, and whether --redis-url led to another Redis"
	case lost.CanaryGone, lost.MasterEmptied:
		return "redis-cli INFO server says since when this Redis runs: if it was not restarted, somebody emptied it, and ACL LIST says who may (-flushall -flushdb forbids it); " +
			"otherwise look whether its folder (CONFIG GET dir) is the same after a restart"
	case lost.QueueOlder:
		return "Redis's log says whether it was restarted or a replica took over; without --redis-wait-replicas=1 a failover may lose tasks, and without appendfsync always a crash"
	case lost.CanaryOther:
		return "if nobody restored older data, another relay writes the same canary, with a copy of this database: give the copy a Redis of its own"
	case lost.CanaryBefore:
		return "if a relay was killed, nothing was lost and nothing is to do; otherwise find out who restored older data"
	case lost.QueueRestarted:
		return "if somebody restarted Redis, nothing is to do: it still has its data, except perhaps the last second; otherwise its log says why it stopped"
	case lost.ReplicaTookOver, lost.MasterOther:
		return "if the failover or the change was planned, nothing is to do; otherwise Redis's log says why; without --redis-wait-replicas=1 a failover may lose tasks"
	case lost.DatabaseOther, lost.TimelineOther:
		return "let producers emit lost events again, see \"PostgreSQL went back\" in docs/guides/runbook/events.md; a synchronous standby loses no commits in a failover"
	default:
		return "the log of the relay and that of Redis say what happened"
	}
}
