package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"outboxd/config"
)

func FuzzQueues(f *testing.F) {
	for _, text := range []string{"", "a=1", "critical=6,default=3,low=1", "a=1,a=2", "=1", "a=", "a=b=1", " a = 1 ,", "{a}=1", "\xff=1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var queues config.Queues
		if queues.UnmarshalText([]byte(text)) != nil {
			return
		}
		if len(queues) == 0 {
			t.Fatalf("%q is accepted and names no queue", text)
		}
		var again config.Queues
		if err := again.UnmarshalText([]byte(queues.String())); err != nil || !reflect.DeepEqual(again, queues) {
			t.Fatalf("%q means %v, and written again %v, %v", text, queues, again, err)
		}
	})
}

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
		c, err := config.Load(nil, []string{"OUTBOXD_CONFIG=" + filepath.Base(file.Name())}, dir)
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
		again, err := config.Load(nil, []string{"OUTBOXD_CONFIG=" + file.Name()}, dir)
		if err != nil || !reflect.DeepEqual(leaves(again), leaves(c)) {
			t.Fatalf("%q is written as\n%s\nwhich gives %v, %v", text, shown, again, err)
		}
	})
}

func FuzzSecretURL(f *testing.F) {
	for _, text := range []string{
		"postgres://u:%s@h/d", "postgres://h/d?password=%s", "host=h password=%s", "host=h password='%s'", "redis://:%s@h", "redis://%s@h:1",
	} {
		f.Add(text, "a@b")
		f.Add(text, "x y='z")
		f.Add(text, "p/?#&=://")
	}
	f.Fuzz(func(t *testing.T, form, password string) {
		// Only the forms above say where the password is; in them it must not
		// be recognisable whatever it holds.
		text := strings.Replace(form, "%s", "~secret~"+password, 1)
		shown := config.SecretURL(text).String()
		switch form {
		case "redis://%s@h:1":
			if strings.Contains(password, ":") {
				return // then it is a user name
			}
			fallthrough
		case "postgres://u:%s@h/d", "host=h password='%s'", "redis://:%s@h", "host=h password=%s", "postgres://h/d?password=%s":
			if strings.Contains(shown, "~secret~") {
				t.Fatalf("%q is shown as %q", text, shown)
			}
		}
	})
}
