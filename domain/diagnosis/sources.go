package diagnosis

import (
	"maps"
	"slices"
	"strings"

	"outboxd/domain"
	"outboxd/domain/overview"
	"outboxd/domain/words"
)

// About has the findings about one of several databases, and about the Redis that they share.
type About struct {
	Source   string // the database's name
	Findings []domain.Finding
}

// Join joins the findings about several databases into one list, the worst first. The parameter shared
// has findings that are not about a database. Join leaves out a finding of a database if a shared
// finding has the same code. Every other finding of a database begins with the names of the databases
// that have it, and its remedy names --databases in place of --database-url.
func Join(all []About, shared []domain.Finding) []domain.Finding {
	var found []domain.Finding
	var sources [][]string
	for _, a := range all {
		for _, f := range a.Findings {
			if slices.ContainsFunc(shared, func(g domain.Finding) bool { return g.Code == f.Code }) {
				continue
			}
			f.Remedy = strings.ReplaceAll(f.Remedy, "--database-url", "--databases")
			i := slices.IndexFunc(found, func(g domain.Finding) bool { return g.Level == f.Level && g.String() == f.String() })
			if i < 0 {
				i, found, sources = len(found), append(found, f), append(sources, nil)
			}
			sources[i] = append(sources[i], a.Source)
		}
	}
	for i, names := range sources {
		found[i].Found = strings.Join(names, ", ") + ": " + found[i].Found
	}
	found = append(found, shared...)
	domain.SortFindings(found)
	return found
}

// Subscribed has the subscriptions of one of several databases.
type Subscribed struct {
	Source string
	Names  []string // without removed subscriptions
	// Resting has the receivers that get nothing at present: their subscription is paused
	// or was removed, or they are down.
	Resting []overview.ReceiverStatus
}

// rests reports whether the database has no subscription of that name, or one that is paused or removed.
func (s Subscribed) rests(name string) bool {
	return !slices.Contains(s.Names, name) ||
		slices.ContainsFunc(s.Resting, func(r overview.ReceiverStatus) bool { return r.Subscription == name && (r.Paused || r.Removed) })
}

// Resting returns the subscriptions that are paused or removed in each database that has
// them. If two databases have a subscription of the same name, they share its queue. That
// queue needs a worker while one of the two is neither paused nor removed.
func Resting(all []Subscribed) (resting []overview.ReceiverStatus) {
	for _, s := range all {
		for _, r := range s.Resting {
			active := slices.ContainsFunc(all, func(other Subscribed) bool { return !other.rests(r.Subscription) })
			if !active {
				resting = append(resting, r)
			}
		}
	}
	return resting
}

// SubscriptionsTwice returns a finding if two databases have a subscription of one name.
func SubscriptionsTwice(all []Subscribed) []domain.Finding {
	owners := map[string][]string{}
	for _, s := range all {
		for _, name := range s.Names {
			owners[name] = append(owners[name], s.Source)
		}
	}
	var twice []string
	for _, name := range slices.Sorted(maps.Keys(owners)) {
		if len(owners[name]) > 1 {
			twice = append(twice, name+" ("+strings.Join(owners[name], ", ")+")")
		}
	}
	if len(twice) == 0 {
		return nil
	}
	many := words.Many(len(twice), "subscription")
	if more := len(twice) - receiversNamed; more > 0 {
		twice = append(twice[:receiversNamed], words.Count(more)+" more")
	}
	return Of("subscription-twice", many+words.Plural(len(twice), " has", " have")+" the same name in several databases: "+strings.Join(twice, ", "),
		"their deliveries share a queue, and a worker cannot confirm those of another database than its own",
		"give the subscription another name in one of the databases: outboxd subscriptions apply and remove, with --source")
}
