package app_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// topFolders are the folders of the repository that have packages of the program. client is a module of its own.
var topFolders = []string{"app", "client", "config", "domain", "handler", "jobs", "migrations", "relay", "repository"}

// TestTheCoreKnowsNothingOfTheExample asks the go command which packages there are. Only the example itself, app
// and the packages below it, which wire it into the program, and packages for tests may import the example. All packages are in the folders that CONTRIBUTING.md names.
func TestTheCoreKnowsNothingOfTheExample(t *testing.T) {
	t.Parallel()
	list := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Deps", "outboxd/...")
	output, err := list.Output()
	if err != nil {
		t.Fatalf("%s: %v", list, err)
	}
	var core, example []string
	for decoder := json.NewDecoder(strings.NewReader(string(output))); ; {
		var found struct {
			ImportPath string
			Deps       []string
		}
		if err := decoder.Decode(&found); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if parts := strings.Split(found.ImportPath, "/"); len(parts) > 1 && !slices.Contains(topFolders, parts[1]) {
			t.Errorf("%s is in none of %q", found.ImportPath, topFolders)
		}
		switch {
		case ofTheExample(found.ImportPath):
			example = append(example, found.ImportPath)
		case found.ImportPath == "outboxd", found.ImportPath == "outboxd/app", strings.HasPrefix(found.ImportPath, "outboxd/app/"),
			strings.HasSuffix(found.ImportPath, "test"):
		default:
			core = append(core, found.ImportPath)
			for _, name := range slices.DeleteFunc(found.Deps, func(name string) bool { return !ofTheExample(name) }) {
				t.Errorf("%s needs %s", found.ImportPath, name)
			}
		}
	}
	if len(core) == 0 || len(example) == 0 {
		t.Errorf("the go command names %q and, of the example, %q: neither may be empty", core, example)
	}
}

// ofTheExample reports whether a package is the example's.
func ofTheExample(name string) bool {
	return strings.HasPrefix(name, "outboxd/") &&
		slices.ContainsFunc(strings.Split(name, "/"), func(room string) bool { return room == "registration" || room == "example" })
}
