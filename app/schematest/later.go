package schematest

import (
	"io/fs"
	"testing"
	"testing/fstest"

	"outboxd/migrations"
)

// Later returns the migrations of a future version: the present ones, and those of the
// map more, from the name of a file to its text.
func Later(t testing.TB, more map[string]string) migrations.Set {
	t.Helper()
	set, files := migrations.Core(), fstest.MapFS{}
	names, err := fs.Glob(set.Files, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(set.Files, name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: text}
	}
	for name, text := range more {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	set.Files = files
	return set
}
