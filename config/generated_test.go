package config_test

import (
	"bytes"
	"flag"
	"io"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"outboxd/config"
)

const (
	examplePath   = "../outboxd.example.yaml"
	referencePath = "../docs/reference/configuration.md"
)

// go test ./config -update writes the generated files anew.
var update = flag.Bool("update", false, "write outboxd.example.yaml and docs/reference/configuration.md")

func TestGeneratedFiles(t *testing.T) {
	t.Parallel()
	for path, generate := range map[string]func(io.Writer) error{
		examplePath: config.WriteExample, referencePath: config.WriteReference,
	} {
		var text bytes.Buffer
		if err := generate(&text); err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(path, text.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		onDisk, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(onDisk, text.Bytes()) {
			t.Errorf("%s is out of date: go test ./config -update", path)
		}
	}
}

// The example loads as it is, and also if every setting in it is uncommented. Both give the
// defaults.
func TestExampleIsComplete(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	if err := config.WriteExample(&text); err != nil {
		t.Fatal(err)
	}
	inForce := regexp.MustCompile(`(?m)^( *)#([a-z])`).ReplaceAllString(text.String(), "$1$2")
	want := leaves(config.Default())
	for name, file := range map[string]string{"as it is": text.String(), "in force": inForce} {
		if got := leaves(setting{file: file}.mustLoad(t)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%v\nwant\n%v", name, got, want)
		}
	}
	c := setting{file: inForce}.mustLoad(t)
	if got := strings.Count(effective(t, c), " # file "); got != len(want) {
		t.Errorf("the example sets %d keys of %d", got, len(want))
	}
}

func TestReferenceIsComplete(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	if err := config.WriteReference(&text); err != nil {
		t.Fatal(err)
	}
	for _, option := range layeredOptions() {
		row := "| `" + option.key + "` | `--" + flagName(option.key) + "` | `" + variable(option.key) + "` |"
		if strings.Count(text.String(), row) != 1 {
			t.Errorf("no row %s", row)
		}
	}
}
