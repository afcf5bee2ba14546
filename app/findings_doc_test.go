package app_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"outboxd/domain/diagnosis"
)

// Each finding has a row in the documentation, which also says when its facts are read.
func TestFindingsAreDocumented(t *testing.T) {
	t.Parallel()
	var text string
	for _, name := range []string{"../docs/reference/findings.md", "../docs/guides/redis.md"} {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text += string(content)
	}
	looks := map[diagnosis.Look]string{}
	for _, look := range []diagnosis.Look{diagnosis.LookAlways, diagnosis.LookMinutely, diagnosis.LookDoctor} {
		item := regexp.MustCompile(`(?s)\n- \*\*` + string(look) + `\*\*:(.*?)\n(?:- |\n)`).FindStringSubmatch(text)
		if item == nil {
			t.Fatalf("the documentation does not say what is looked at %q", look)
		}
		looks[look] = item[1]
	}
	for _, kind := range diagnosis.Catalogue() {
		if !regexp.MustCompile("(?m)^\\| [^|]*`" + kind.Code + "`").MatchString(text) {
			t.Errorf("no row about %s", kind.Code)
		}
		for look, list := range looks {
			named := strings.Contains(list, "`"+kind.Code+"`")
			if want := look == kind.Look && look != diagnosis.LookMinutely; named != want {
				t.Errorf("%s is looked at %q; under %q it is named: %t", kind.Code, kind.Look, look, named)
			}
		}
	}
}
