package client_test

import (
	"testing"
	"time"

	"outboxd/client"
)

func TestIDs(t *testing.T) {
	t.Parallel()
	seen, last := map[client.ID]bool{}, ""
	for range 1000 {
		id := client.NewID()
		if seen[id] || id.IsZero() || id[6]>>4 != 7 || id[8]>>6 != 2 || id.String()[:8] < last {
			t.Fatalf("%s comes after %s", id, last)
		}
		seen[id], last = true, id.String()[:8]
	}
	id := client.NewID()
	millis := int64(id[0])<<40 | int64(id[1])<<32 | int64(id[2])<<24 | int64(id[3])<<16 | int64(id[4])<<8 | int64(id[5])
	if age := time.Since(time.UnixMilli(millis)); age < -time.Second || age > time.Minute {
		t.Errorf("%s is of %v ago", id, age)
	}
}

func FuzzParseID(f *testing.F) {
	for _, text := range []string{"", "0198c5e2-7a3b-7c4d-8e5f-0123456789AB", "{0198c5e2-7a3b-7c4d-8e5f-0123456789ab}", "0198c5e2-7a3b-7c4d-8e5f-0123456789a-", "0198c5e27a3b7c4d8e5f0123456789abcdef"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := client.ParseID(text)
		if err != nil {
			return
		}
		if again, err := client.ParseID(id.String()); err != nil || again != id || len(text) != 36 {
			t.Errorf("%q is %s, and then %s, %v", text, id, again, err)
		}
	})
}
