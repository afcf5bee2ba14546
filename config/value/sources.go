package value

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"outboxd/config/address"
	"outboxd/config/words"
)

// Source is one of several databases that a process serves.
type Source struct {
	Name         string // for metrics, logs and commands
	URL          SecretURL
	PasswordFile string    // "": the URL's password
	ListenURL    SecretURL // "": as URL
	ReadURL      SecretURL // of a standby; "": everything is read from URL
}

// Sources are the databases that a process serves, in the order in which they were listed.
type Sources []Source

// The keys of a source besides its URL.
const (
	keyPasswordFile = "password_file"
	keyListenURL    = "listen_url"
	keyReadURL      = "read_url"
)

// String returns the text that UnmarshalText reads, with passwords masked.
func (s Sources) String() string {
	var entries []string
	for _, source := range s {
		entries = append(entries, source.Name+"="+source.URL.String())
		if source.PasswordFile != "" {
			entries = append(entries, source.Name+"."+keyPasswordFile+"="+source.PasswordFile)
		}
		if source.ListenURL != "" {
			entries = append(entries, source.Name+"."+keyListenURL+"="+source.ListenURL.String())
		}
		if source.ReadURL != "" {
			entries = append(entries, source.Name+"."+keyReadURL+"="+source.ReadURL.String())
		}
	}
	return strings.Join(entries, " ")
}

// GoString masks the passwords for %#v.
func (s Sources) GoString() string { return `"` + s.String() + `"` }

// MarshalText returns String.
func (s Sources) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Names returns the names of the sources.
func (s Sources) Names() []string {
	names := make([]string, len(s))
	for i, source := range s {
		names[i] = source.Name
	}
	return names
}

// Find returns the source with a name, and whether there is one.
func (s Sources) Find(name string) (Source, bool) {
	for _, source := range s {
		if source.Name == name {
			return source, true
		}
	}
	return Source{}, false
}

// UnmarshalText reads entries with spaces between them, because a URL may contain commas:
// name=URL, name.password_file=path, name.listen_url=URL and name.read_url=URL. Its errors quote
// no URL.
func (s *Sources) UnmarshalText(text []byte) error {
	var sources Sources
	for entry := range strings.FieldsSeq(string(text)) {
		if err := sources.add(entry); err != nil {
			return err
		}
	}
	if err := sources.check(); err != nil {
		return err
	}
	*s = sources
	return nil
}

// sourceName matches the names that a label of a metric, a path and a log can show unchanged.
var sourceName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,39}$`)

// add reads one entry.
func (s *Sources) add(entry string) error {
	key, text, found := strings.Cut(entry, "=")
	name, part, _ := strings.Cut(key, ".")
	if !found || strings.Contains(key, "://") {
		return errors.New("an entry has no name: write it as name=URL, such as orders=postgres://user@host/orders, with spaces between the entries")
	}
	if !sourceName.MatchString(name) {
		return fmt.Errorf("%s is no name of a database: use up to 40 lower-case letters, digits, _ and -", words.Quote(name))
	}
	source := s.named(name)
	field := map[string]*string{
		"": (*string)(&source.URL), keyPasswordFile: &source.PasswordFile, keyListenURL: (*string)(&source.ListenURL), keyReadURL: (*string)(&source.ReadURL),
	}[part]
	switch {
	case field == nil:
		return fmt.Errorf("%s is unknown: a database has a URL, %s, %s and %s", words.Quote(key), keyPasswordFile, keyListenURL, keyReadURL)
	case *field != "":
		return fmt.Errorf("%s is listed twice: keep one of them", words.Quote(key))
	case text == "":
		return fmt.Errorf("%s is empty: give a value or leave it out", words.Quote(key))
	}
	*field = text
	return nil
}

// named returns the source with a name. If there is none, it adds one.
func (s *Sources) named(name string) *Source {
	for i := range *s {
		if (*s)[i].Name == name {
			return &(*s)[i]
		}
	}
	*s = append(*s, Source{Name: name})
	return &(*s)[len(*s)-1]
}

// check returns an error if a URL is missing or cannot be used, or if two sources have the same
// place (see placeOf).
func (s Sources) check() error {
	owner := map[string]string{}
	for _, source := range s {
		if source.URL == "" {
			return fmt.Errorf("the database %s has no URL: write it as %s=postgres://user@host/name", words.Quote(source.Name), source.Name)
		}
		for _, u := range []SecretURL{source.URL, source.ListenURL, source.ReadURL} {
			if err := checkSourceURL(string(u)); err != nil {
				return fmt.Errorf("the URL of the database %s: %w", words.Quote(source.Name), err)
			}
		}
		place := placeOf(string(source.URL))
		if other, twice := owner[place]; twice {
			return fmt.Errorf("%s and %s are the same database: keep one of them", words.Quote(other), words.Quote(source.Name))
		}
		owner[place] = source.Name
	}
	return nil
}

func checkSourceURL(text string) error {
	switch {
	case text == "":
		return nil
	case !strings.Contains(text, "://"):
		return errors.New("write it as a URL such as postgres://user@host/name, not as key=value pairs")
	default:
		return address.CheckPostgres(text)
	}
}

// placeOf returns the hosts, the port and the database of a URL that CheckPostgres accepts. Two
// names of one host give two places.
func placeOf(text string) string {
	_, rest, _ := strings.Cut(text, "://")
	rest, query, _ := strings.Cut(rest, "?")
	user, rest, found := strings.Cut(rest, "@")
	if !found {
		user, rest = "", user
	}
	user, _, _ = strings.Cut(user, ":")
	hosts, name, _ := strings.Cut(rest, "/")
	values, err := url.ParseQuery(query)
	if err != nil {
		return text
	}
	if plain, err := url.PathUnescape(hosts); err == nil {
		hosts = plain
	}
	port := ""
	for key, field := range map[string]*string{"host": &hosts, "port": &port, "dbname": &name, "user": &user} {
		if value := values.Get(key); value != "" {
			*field = value
		}
	}
	if name == "" {
		name = user // as libpq does
	}
	hosts = strings.TrimSuffix(strings.ToLower(hosts), ":5432")
	return strings.Join([]string{hosts, strings.TrimPrefix(port, "5432"), name}, "\n")
}
