package diagnosis

import (
	"slices"
	"strings"

	"outboxd/domain"
)

// About has the findings about one of several databases, and about the Redis that they share.
type About struct {
	Source   string // the database's name
	Findings []domain.Finding
}

// Join joins the findings about several databases into one list, the worst first. shared has
// findings that are not about a database; a finding of the same code is left out of all the
// others. Every other finding begins with the names of the databases that it was found with,
// and its remedy names the option that has the URLs of several databases.
func Join(all []About, shared []domain.Finding) []domain.Finding {
	var found []domain.Finding
	var sources [][]string
	for _, a := range all {
		for _, f := range a.Findings {
			if slices.ContainsFunc(shared, func(g domain.Finding) bool { return g.Code == f.Code }) {
				continue
			}
			f.Remedy = strings.ReplaceAll(f.Remedy, "--database-url", "--databases")
			i := slices.Index(found, f)
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
