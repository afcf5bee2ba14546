package forms

import "time"

// Clause is one part of a choice in words. If it ends with a time, At is that time.
type Clause struct {
	Text string
	At   time.Time
}

// texts returns a clause for each pair. The pair's name is the beginning of the clause.
func texts(pairs []Pair) (clauses []Clause) {
	for _, p := range pairs {
		clauses = append(clauses, Clause{Text: p.Name + " " + p.Value})
	}
	return clauses
}

// moments returns the clauses of two fields that take a time. A value that is not in the form of RFC 3339, such as 2h,
// stays as the visitor wrote it.
func moments(what, since, until string) (clauses []Clause) {
	for _, p := range filled(Pair{what + " since", since}, Pair{what + " until", until}) {
		c := Clause{Text: p.Name + " " + p.Value}
		if at, err := time.Parse(time.RFC3339Nano, p.Value); err == nil {
			c = Clause{p.Name, at}
		}
		clauses = append(clauses, c)
	}
	return clauses
}
