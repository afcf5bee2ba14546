package value_test

import (
	"testing"

	"outboxd/config/value"
)

func TestSecretURL(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                     "",
		"postgres://h/d":                       "postgres://h/d",
		"postgres://ada@h/d":                   "postgres://ada@h/d",
		"postgres://ada:p@ss/w?o#rd@h/d":       "postgres://********",
		"postgres://ada:p@ss/w@h/d":            "postgres://ada:********@h/d",
		"postgres://ada@h/d?password=p@ss":     "postgres://********",
		"postgres://h/d?user=ada;password=p":   "postgres://h/d?user=********",
		"host=h;password=p":                    "host=********",
		"host=h sslrootcert=/run/secrets/ca":   "host=h sslrootcert=/run/secrets/ca",
		"postgres://h/d?pass%77ord=p&x=y":      "postgres://h/d?pass%77ord=********&x=y",
		"postgres://h/d?sslpassword=p":         "postgres://h/d?sslpassword=********",
		"postgres://h/d?%zz=p":                 "postgres://h/d?********",
		"redis://token@h":                      "redis://********@h",
		"redis://tok/en:x@h":                   "redis://********@h",
		"host=h password=a://b":                "host=h password=********",
		"password='a b' host=h":                "password=******** host=h",
		`PASSWORD=a\ b host=h`:                 "PASSWORD=******** host=h",
		"something else":                       "********",
		"redis-socket://:p@/run/r.sock?db=1":   "redis-socket://:********@/run/r.sock?db=1",
		"postgres://a:p@h1:1,h2:2/d?user=x@yz": "postgres://********",
		"postgres://a:p@h1:1,h2:2/d?user=x":    "postgres://a:********@h1:1,h2:2/d?user=x",
	} {
		if got := value.SecretURL(text).String(); got != want {
			t.Errorf("%s is shown as %s, want %s", text, got, want)
		}
	}
}
