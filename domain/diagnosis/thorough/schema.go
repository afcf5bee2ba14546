package thorough

import (
	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/domain/words"
)

// SchemaFacts compares the migrations of the database schema with those of this binary.
type SchemaFacts struct {
	Migrations, Pending int // Migrations: those of this binary; Pending: those among them that are not applied
	Unknown             int // applied, but unknown to this binary
}

// Findings returns the finding about these facts.
func (s SchemaFacts) Findings() []domain.Finding {
	switch {
	case s.Pending > 0:
		return diagnosis.Of("schema-outdated", words.Count(s.Pending)+" of "+words.Many(s.Migrations, "migration")+words.Plural(s.Pending, " is", " are")+" pending",
			"processes of this version migrate at their start, or refuse to start with --migrate=off; what this version added was not looked at",
			"outboxd migrate up")
	case s.Unknown > 0:
		return diagnosis.Of("schema-newer", "the schema has "+words.Many(s.Unknown, "migration")+" that this binary does not know",
			"a newer outboxd made it; this is normal during a roll-out", "upgrade this binary")
	}
	return nil
}
