package value_test

import (
	"reflect"
	"strings"
	"testing"

	"outboxd/config/value"
)

func FuzzQueues(f *testing.F) {
	for _, text := range []string{"", "a=1", "critical=6,default=3,low=1", "a=1,a=2", "=1", "a=", "a=b=1", " a = 1 ,", "{a}=1", "\xff=1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var queues value.Queues
		if queues.UnmarshalText([]byte(text)) != nil {
			return
		}
		if len(queues) == 0 {
			t.Fatalf("%q is accepted and names no queue", text)
		}
		var again value.Queues
		if err := again.UnmarshalText([]byte(queues.String())); err != nil || !reflect.DeepEqual(again, queues) {
			t.Fatalf("%q means %v, and written again %v, %v", text, queues, again, err)
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
		// The forms above say where the password is. In these forms the password
		// must not be recognisable, whatever characters it has.
		text := strings.Replace(form, "%s", "~secret~"+password, 1)
		shown := value.SecretURL(text).String()
		switch form {
		case "redis://%s@h:1":
			if strings.Contains(password, ":") {
				return // then the text before the colon is a user name, which may be shown
			}
			fallthrough
		case "postgres://u:%s@h/d", "host=h password='%s'", "redis://:%s@h", "host=h password=%s", "postgres://h/d?password=%s":
			if strings.Contains(shown, "~secret~") {
				t.Fatalf("%q is shown as %q", text, shown)
			}
		}
	})
}
