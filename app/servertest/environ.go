package servertest

import (
	"os"
	"strings"
)

// Environ is this process's environment without what would lead a child to
// other servers, or configure it if it is outboxd.
func Environ() (environ []string) {
	for _, setting := range os.Environ() {
		if name, _, _ := strings.Cut(setting, "="); !strings.HasPrefix(name, "OUTBOXD_") && !strings.HasPrefix(name, "PG") &&
			!strings.HasPrefix(name, "OTEL_") && name != "DATABASE_URL" && name != "REDIS_URL" {
			environ = append(environ, setting)
		}
	}
	return environ
}
