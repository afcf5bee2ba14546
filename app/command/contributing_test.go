package command

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var quoted = regexp.MustCompile("`([^`]+)`")

// CONTRIBUTING.md names the places where something is decided. Each name must be
// defined in the file beside it.
func TestWhereItIsDecidedIsCurrent(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	guide, err := os.ReadFile(filepath.Join(root, "CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(guide), "\n## Where it is decided\n")
	section, _, _ = strings.Cut(section, "\n## ")
	rows := 0
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.Contains(cells[2], "`") {
			continue
		}
		rows++
		file := quoted.FindStringSubmatch(cells[2])[1]
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Errorf("%s: %v", strings.TrimSpace(cells[1]), err)
			continue
		}
		for _, name := range quoted.FindAllStringSubmatch(cells[3], -1) {
			if !defines(string(text), name[1]) {
				t.Errorf("%s: %s does not define %s", strings.TrimSpace(cells[1]), file, name[1])
			}
		}
	}
	if rows < 30 {
		t.Errorf("the guide has %d places", rows)
	}
}

// defines reports whether Go or SQL defines a function, type, constant or variable.
func defines(text, name string) bool {
	name = regexp.QuoteMeta(name)
	return regexp.MustCompile(`(?m)^(func (\([^)]*\) )?|type |const |var |CREATE FUNCTION )` + name + `\b|^\t` + name + `\s+= `).MatchString(text)
}
