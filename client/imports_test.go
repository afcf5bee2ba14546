package client_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// A producer's binary contains nothing that the producer does not use: no Redis client,
// and no library for another database.
func TestWhatAProducerImports(t *testing.T) {
	t.Parallel()
	modules := func(arguments ...string) []string {
		t.Helper()
		command := exec.CommandContext(t.Context(), "go", append([]string{"list"}, arguments...)...)
		output, err := command.Output()
		if err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		list := strings.Fields(string(output))
		slices.Sort(list)
		return slices.Compact(list)
	}
	own := modules("-m")
	if got := modules("-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "."); !slices.Equal(got, own) {
		t.Errorf("package client imports the modules %q, want the standard library only", got)
	}
	for folder, library := range map[string]string{"./gormoutbox": "gorm.io/gorm", "./pgxoutbox": "github.com/jackc/pgx/v5", "./oteloutbox": "go.opentelemetry.io/otel"} {
		got := modules("-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", folder)
		if !slices.Contains(got, library) {
			t.Errorf("%s does not import %s: the test reads the wrong place", folder, library)
		}
		for _, other := range []string{"github.com/hibiken/asynq", "github.com/redis/go-redis/v9", "gorm.io/gorm", "github.com/jackc/pgx/v5"} {
			if other != library && slices.Contains(got, other) {
				t.Errorf("%s imports %s", folder, other)
			}
		}
	}
}
