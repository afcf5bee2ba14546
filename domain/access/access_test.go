package access_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"outboxd/domain/access"
)

// TestEveryRecordedActionTakesARole reads from the migration which kinds of actions the database
// accepts.
func TestEveryRecordedActionTakesARole(t *testing.T) {
	t.Parallel()
	migration, err := os.ReadFile("../../migrations/00004_record.sql")
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`CHECK \(action IN \(([^)]*)\)\)`).FindSubmatch(migration)
	if list == nil {
		t.Fatal("the migration names no kinds of actions")
	}
	known := map[string]bool{}
	for _, rule := range access.Table() {
		if known[rule.Action] || rule.Means == "" || rule.Role == access.None {
			t.Errorf("the rule of %q is double or incomplete", rule.Action)
		}
		known[rule.Action] = true
	}
	for kind := range strings.SplitSeq(string(list[1]), ", ") {
		if kind = strings.Trim(kind, "'"); !known[kind] {
			t.Errorf("the action %q takes no role", kind)
		}
	}
}

// TestTheGuideHasTheTable compares the guide's table with the one that decides.
func TestTheGuideHasTheTable(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../../docs/guides/sign-in.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range access.Table() {
		if line := "| `" + rule.Action + "` | " + rule.Role.String() + " | " + rule.Means + " |\n"; !strings.Contains(string(guide), line) {
			t.Errorf("the guide lacks %s", line)
		}
	}
}

func TestRolesBuildOnOneAnother(t *testing.T) {
	t.Parallel()
	for _, rule := range access.Table() {
		for _, role := range access.Roles() {
			if got, want := (access.Identity{Role: role}).May(rule.Action), role >= rule.Role; got != want {
				t.Errorf("%s may %s: %v, want %v", role, rule.Action, got, want)
			}
		}
		if (access.Identity{}).May(rule.Action) {
			t.Errorf("nobody may %s", rule.Action)
		}
	}
	if (access.Identity{Role: access.Operator}).May("unheard of") || !(access.Identity{Role: access.Admin}).May("unheard of") {
		t.Error("an action without a rule does not take an admin")
	}
	for _, role := range access.Roles() {
		if read, err := access.ParseRole(role.String()); err != nil || read != role {
			t.Errorf("%s is read as %s, %v", role, read, err)
		}
	}
	for _, name := range []string{"", "none", "Admin", "root"} {
		if role, err := access.ParseRole(name); err == nil {
			t.Errorf("%q is read as %s", name, role)
		}
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	ada, bob := access.NewToken(), access.NewToken()
	if ada == bob || len(ada) < 50 || !strings.HasPrefix(ada, "outboxd_") {
		t.Errorf("tokens %q and %q", ada, bob)
	}
	tokens := []access.Token{
		{Identity: access.Identity{Name: "ada", Role: access.Operator}, Digest: access.DigestOf(ada)},
		{Identity: access.Identity{Name: "bob", Role: access.Admin}, Digest: access.DigestOf(bob)},
	}
	for offered, want := range map[string]string{ada: "ada", bob: "bob", "": "", ada[1:]: "", tokens[0].Digest.String(): ""} {
		if who, known := access.Find(tokens, offered); who.Name != want || known != (want != "") {
			t.Errorf("%q is %q, %v", offered, who.Name, known)
		}
	}
	if entry := tokens[0].Entry(); strings.Contains(entry, ada) || !regexp.MustCompile(`^ada=operator:sha256:[0-9a-f]{64}$`).MatchString(entry) {
		t.Errorf("entry %q", entry)
	}
}
