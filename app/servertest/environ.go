package servertest

import (
	"os"
	"strings"
)

// Environ returns this process's environment for a child process. Environ leaves
// out variables that name other servers or configure outboxd.
func Environ() (environ []string) {
	for _, setting := range os.Environ() {
		if name, _, _ := strings.Cut(setting, "="); !strings.HasPrefix(name, "OUTBOXD_") && !strings.HasPrefix(name, "PG") &&
			!strings.HasPrefix(name, "OTEL_") && name != "DATABASE_URL" && name != "REDIS_URL" {
			environ = append(environ, setting)
		}
	}
	return environ
}
