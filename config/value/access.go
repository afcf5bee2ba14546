package value

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"outboxd/config/words"
)

// AccessRoles are the roles of people, the least one first.
var AccessRoles = []string{"viewer", "operator", "admin"}

const maxTokenName = 100 // bytes

// Token is a token by which a person signs in. The token itself is not stored.
type Token struct {
	Name, Role string
	Digest     [32]byte // its SHA-256
}

// Tokens are the tokens of people, sorted by name. No name and no digest is in the list twice: a token says who its
// holder is.
type Tokens []Token

// String returns what UnmarshalText reads.
func (t Tokens) String() string {
	entries := make([]string, len(t))
	for i := range t {
		entries[i] = t[i].Name + "=" + t[i].Role + ":sha256:" + hex.EncodeToString(t[i].Digest[:])
	}
	return strings.Join(entries, ",")
}

// MarshalText returns String.
func (t Tokens) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads a list such as "ada=operator:sha256:3f0a…".
func (t *Tokens) UnmarshalText(text []byte) error {
	var tokens Tokens
	for _, entry := range words.List(string(text)) {
		token, err := parseToken(entry)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(tokens, func(other Token) bool { return other.Name == token.Name }) {
			return fmt.Errorf("%s is listed twice: give each token a name of its own", words.Quote(token.Name))
		}
		if i := slices.IndexFunc(tokens, func(other Token) bool { return other.Digest == token.Digest }); i >= 0 {
			return fmt.Errorf("%s and %s have the same token: make one for each", words.Quote(tokens[i].Name), words.Quote(token.Name))
		}
		tokens = append(tokens, token)
	}
	slices.SortFunc(tokens, func(a, b Token) int { return cmp.Compare(a.Name, b.Name) })
	*t = tokens
	return nil
}

// errToken does not quote the entry of the list, because the entry may be the
// token itself.
var errToken = errors.New("a token has no name or no role: write it as name=role:sha256:digest, as outboxd token new prints it")

// parseToken reads an entry. The errors do not quote the text in the place of the
// digest, because that text may be the token itself.
func parseToken(entry string) (Token, error) {
	name, rest, found := strings.Cut(entry, "=")
	name = strings.TrimSpace(name)
	if !found || strings.Contains(name, ":") {
		return Token{}, errToken // the "=" may be the end of the token itself
	}
	role, digest, _ := strings.Cut(strings.TrimSpace(rest), ":")
	if err := CheckPerson(name); err != nil {
		return Token{}, err
	}
	if !slices.Contains(AccessRoles, role) {
		return Token{}, errToken
	}
	t := Token{Name: name, Role: role}
	encoded, found := strings.CutPrefix(digest, "sha256:")
	sum, err := hex.DecodeString(encoded)
	if !found || err != nil || len(sum) != len(t.Digest) {
		return Token{}, fmt.Errorf("the token of %s has no digest: write sha256: and 64 hexadecimal digits, as outboxd token new prints them", words.Quote(name))
	}
	copy(t.Digest[:], sum)
	return t, nil
}

// CheckPerson refuses names that a list of tokens cannot hold, or that could be
// taken for another name.
func CheckPerson(name string) error {
	switch {
	case name == "" || len(name) > maxTokenName:
		return fmt.Errorf("%s is no name: give one of up to %d bytes", words.Quote(name), maxTokenName)
	case strings.ContainsAny(name, "=,: ") || !words.IsVisible(name):
		return fmt.Errorf("the name %s has a character that is not allowed: avoid spaces, commas, colons, equals signs and what cannot be seen", words.Quote(name))
	}
	return nil
}

// Grants has the role that each value of the OpenID claim for roles gives.
type Grants map[string]string

// String returns what UnmarshalText reads.
func (g Grants) String() string {
	var entries []string
	for _, name := range slices.Sorted(maps.Keys(g)) {
		entries = append(entries, name+"="+g[name])
	}
	return strings.Join(entries, ",")
}

// MarshalText returns String.
func (g Grants) MarshalText() ([]byte, error) { return []byte(g.String()), nil }

// UnmarshalText reads a list such as "outbox-admins=admin,*=viewer".
func (g *Grants) UnmarshalText(text []byte) error {
	grants := Grants{}
	for _, entry := range words.List(string(text)) {
		at := strings.LastIndexByte(entry, '=')
		if at < 1 || !slices.Contains(AccessRoles, strings.TrimSpace(entry[at+1:])) {
			return fmt.Errorf("%s gives no role: write it as value=role, with the role %s", words.Quote(entry), strings.Join(AccessRoles, ", "))
		}
		name := strings.TrimSpace(entry[:at])
		if _, twice := grants[name]; twice {
			return fmt.Errorf("%s is listed twice: keep one of them", words.Quote(name))
		}
		grants[name] = strings.TrimSpace(entry[at+1:])
	}
	*g = grants
	return nil
}
