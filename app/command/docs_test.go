package command

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"outboxd/app/command/health"
	"outboxd/app/daemon"
)

var (
	docFence    = regexp.MustCompile("(?ms)^ *```(\\w+)([^\n]*)\n(.*?)^ *```$")
	docCommand  = regexp.MustCompile(`(?m)(?:^|\$ |\$\(|^\w+=\S+ )(?:\./bin/)?outboxd(?: +([^\n]*))?$`)
	shellWord   = regexp.MustCompile(`(?:"[^"]*"|'[^']*'|[^\s"'])+`)
	notACommand = regexp.MustCompile(`[|<>&;]|\)["\s]`)
)

// documents returns the paths of all documents.
func documents(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../../*.md")
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir("../../docs", func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".md" {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) < 20 {
		t.Fatalf("%d documents, %v", len(files), err)
	}
	return files
}

// TestDocsBlocks wants each block of commands to be run by a test or to be marked:
//
//	```sh excerpt      no test runs it
//	```sql run=TestX   TestX does
//
// TestTutorial runs the blocks of the tutorial. In excerpts, too, each command of
// outboxd must exist and have the flags that are given to it.
func TestDocsBlocks(t *testing.T) {
	t.Parallel()
	tests := testNames(t)
	commands := 0
	for _, file := range documents(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range docFence.FindAllStringSubmatch(string(text), -1) {
			language, mark, body := block[1], strings.TrimSpace(block[2]), block[3]
			if !slices.Contains([]string{"sh", "bash", "console", "sql"}, language) {
				continue
			}
			name, runs := strings.CutPrefix(mark, "run=")
			switch {
			case mark == "excerpt", strings.Contains(file, "/tutorial/") && (mark == "" || mark == "stays"):
			case !runs:
				t.Errorf("%s: no test runs this block, and it is not marked as an excerpt:\n%s", file, body)
			case !tests[name]:
				t.Errorf("%s: there is no %s, which is to run\n%s", file, name, body)
			}
			for _, command := range docCommand.FindAllStringSubmatch(body, -1) {
				commands++
				if err := parses(command[1]); err != nil {
					t.Errorf("%s: outboxd %s: %v", file, command[1], err)
				}
			}
		}
	}
	if commands < 40 {
		t.Errorf("only %d commands were found in the documents", commands)
	}
}

// parses returns an error if the command line of an example names a command or a
// flag that does not exist.
func parses(line string) error {
	line, _, _ = strings.Cut(line, " #")
	if at := notACommand.FindStringIndex(line); at != nil {
		line = line[:at[0]]
	}
	var args []string
	for _, word := range shellWord.FindAllString(line, -1) {
		args = append(args, strings.NewReplacer(`"`, "", `'`, "").Replace(word))
	}
	cmd, rest, err := New(nil, daemon.Build{}).Find(args)
	if err != nil {
		return err
	}
	cmd.FParseErrWhitelist.UnknownFlags = false
	if err := cmd.ParseFlags(rest); err != nil && err != pflag.ErrHelp { //nolint:errorlint // pflag returns it as it is
		return err
	}
	return nil
}

// testNames returns the names of all tests of the module.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			if err == nil && entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && len(entry.Name()) > 2 {
				return fs.SkipDir
			}
			return err
		}
		text, err := os.ReadFile(path)
		for _, name := range function.FindAllSubmatch(text, -1) {
			names[string(name[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestDocsSayWhatDoctorSays holds examples without findings to what doctor and top
// print.
func TestDocsSayWhatDoctorSays(t *testing.T) {
	t.Parallel()
	examples := 0
	for _, file := range documents(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range docFence.FindAllStringSubmatch(string(text), -1) {
			for line := range strings.Lines(block[3]) {
				if line = strings.TrimSpace(line); strings.HasPrefix(line, "Nothing ") {
					examples++
					if line != health.AllClear {
						t.Errorf("%s: an example says %q, and doctor says %q", file, line, health.AllClear)
					}
				}
			}
		}
	}
	if examples < 2 {
		t.Errorf("%d examples without findings", examples)
	}
}
