package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"outboxd/config"
)

func FuzzFile(f *testing.F) {
	for _, text := range []string{
		"", "roles: all", "a: [", "- x", "relay: {concurrency: &a 3, batch_size: *a}", "&a [*a]", "roles: &a [*a]", "? {a: b}\n: c",
		"<<: {a: b}", "relay: &r\n  <<: *r\n", "worker: {queues: {a: 1}}", "--- a\n--- b", "log: !!binary x", "\"\": {\"\": 1}",
		"monitor: {addr: ':1'}", "database: {url: 'postgres://a:b@c/d'}", "admin_token: ********", "\xff\xfe",
	} {
		f.Add(text)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		file, err := os.CreateTemp(dir, "*.yaml")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.Remove(file.Name()) }()
		if _, err := file.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(nil, []string{"OUTBOXD_CONFIG=" + filepath.Base(file.Name())}, dir, nil)
		if err != nil {
			if c != nil || err.Error() == "" {
				t.Fatalf("with an error comes %v", c)
			}
			return
		}
		shown := effective(t, c)
		if strings.Contains(shown, "********") {
			return // masked values do not load
		}
		write(t, file.Name(), shown)
		again, err := config.Load(nil, []string{"OUTBOXD_CONFIG=" + file.Name()}, dir, nil)
		if err != nil || !reflect.DeepEqual(leaves(again), leaves(c)) {
			t.Fatalf("%q is written as\n%s\nwhich gives %v, %v", text, shown, again, err)
		}
	})
}
