package config

import (
	"strings"

	"outboxd/config/value"
	"outboxd/config/words"
)

// If the option source names one of Databases, choose makes that database the only one of
// the configuration. Afterwards, unless there was a fault, either Databases is empty, or
// the process serves all of them.
func (l *loading) choose() {
	c := l.config
	if c.Source == "" || !l.intact([]string{"source", "databases", "database.url", "database.password_file", "database.read_url", "relay.listen_url"}) {
		return
	}
	source, found := c.Databases.Find(c.Source)
	switch {
	case len(c.Databases) == 0:
		l.refuse("source", "there are no databases to choose from: set "+l.byKey["databases"].names()+", or unset it")
		return
	case !found:
		l.refuse("source", "there is no database "+words.Quote(c.Source)+": give "+strings.Join(c.Databases.Names(), " or "))
		return
	case c.Database.URL != "" || c.Database.PasswordFile != "" || c.Database.ReadURL != "" || c.Relay.ListenURL != "":
		return // check reports it
	}
	chosen := c.For(source)
	*c = *chosen
	for _, key := range []string{"database.url", "database.password_file", "database.read_url", "relay.listen_url"} {
		c.origins[key] = c.origins["databases"]
	}
	delete(c.origins, "databases")
	delete(c.origins, "source")
}

func (l *loading) refuse(key, problem string) {
	l.broken[key] = true
	l.fault(key, problem)
}

// For returns the configuration of a process that serves only the given one of Databases.
func (c *Config) For(source value.Source) *Config {
	one := *c
	one.oneOfSeveral = c.OneOfSeveral()
	one.Databases, one.Source = nil, ""
	one.Database.URL, one.Database.PasswordFile, one.Database.ReadURL = source.URL, source.PasswordFile, source.ReadURL
	one.Relay.ListenURL = source.ListenURL
	return &one
}

// OneOfSeveral reports whether the configuration has several databases, even if the
// process serves only one of them. The other databases may have events in the same queues
// of Redis. A queue may be paused through one database and resumed through another, so the
// record of a single database does not say which queues should be paused.
func (c *Config) OneOfSeveral() bool { return c.oneOfSeveral || len(c.Databases) > 1 }
