package registration_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"outboxd/domain"
	"outboxd/domain/registration"
)

func TestRequestValidate(t *testing.T) {
	t.Parallel()
	const good = "correct horse battery"
	for _, email := range []string{
		"ada@example.com", "Ada.Lovelace+tag@sub.example.co.uk", "a@b.cd", "o'brien@example.com", "ü@example.com",
		strings.Repeat("a", 64) + "@example.com",
	} {
		if err := (registration.Request{Email: email, Password: good}).Validate(); err != nil {
			t.Errorf("%s: %v", email, err)
		}
	}
	for _, email := range []string{
		"", "ada", "ada@", "@example.com", "ada@localhost", "ada@[127.0.0.1]", "Ada <ada@example.com>", " ada@example.com", "ada@example.com ",
		"a@b@example.com", `"a b"@example.com`, "ada@example.com\r\nBcc: x@example.com", strings.Repeat("a", 65) + "@example.com",
		"ada@" + strings.Repeat("a.", 130) + "com", "ada@.example.com", "ada@example..com", "ada@example.com.",
	} {
		err := (registration.Request{Email: email, Password: good}).Validate()
		if domain.ErrorCode(err) != domain.CodeInvalid {
			t.Errorf("%q was accepted", email)
		}
	}
	for password, ok := range map[string]bool{
		"": false, "1234567": false, "12345678": true, strings.Repeat("x", 1024): true, strings.Repeat("x", 1025): false, "12345678\xff": false, "pässwörter": true,
	} {
		err := (registration.Request{Email: "ada@example.com", Password: password}).Validate()
		if (err == nil) != ok {
			t.Errorf("password of %d bytes: %v", len(password), err)
		}
	}
	var both *domain.Error
	if err := (registration.Request{}).Validate(); !errors.As(err, &both) || len(both.Fields) != 2 {
		t.Errorf("two bad fields: %v", err)
	}
}

func FuzzParseSendNotification(f *testing.F) {
	f.Add([]byte(`{"user_id":"01890000-0000-7000-8000-0000000000ff","notification_id":"01890000-0000-7000-8000-0000000000fe","notification_type":"T"}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		p, err := registration.ParseSendNotification(payload)
		if err != nil {
			if domain.ErrorCode(err) != domain.CodeInvalid {
				t.Errorf("%v has the code %s", err, domain.ErrorCode(err))
			}
			return
		}
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := registration.ParseSendNotification(text); err != nil || again != p {
			t.Errorf("%s: %+v, %v", text, again, err)
		}
	})
}

func FuzzRequest(f *testing.F) {
	f.Add("ada@example.com")
	f.Add("a@b@c.d\r\n")
	f.Fuzz(func(t *testing.T, email string) {
		if (registration.Request{Email: email, Password: "12345678"}).Validate() == nil && strings.ContainsAny(email, "\r\n\x00 <>,;\"") {
			t.Errorf("%q was accepted", email)
		}
	})
}
