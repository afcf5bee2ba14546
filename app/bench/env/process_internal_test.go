package env

import (
	"maps"
	"strings"
	"testing"
)

func TestParseMetrics(t *testing.T) {
	t.Parallel()
	const text = "# HELP a Some help 1\n# TYPE a gauge\na 1.5\nb{c=\"d\"} 2\nprocess_resident_memory_bytes 4.3e+07\nbroken\nworse x\n"
	got, err := parseMetrics(strings.NewReader(text))
	if want := map[string]float64{"a": 1.5, `b{c="d"}`: 2, "process_resident_memory_bytes": 4.3e7}; err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}

func TestDaemonLog(t *testing.T) {
	t.Parallel()
	log := newDaemonLog()
	const text = `{"msg":"outboxd starts"}` + "\nno JSON\n" + `{"msg":"ready","monitor":"http://127.0.0.1:1"}` + "\n" + `{"msg":"ready","monitor":"http://127.0.0.1:2"}` + "\n"
	for i := range len(text) {
		if n, err := log.Write([]byte(text[i : i+1])); n != 1 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	if got := <-log.ready; got != "http://127.0.0.1:1" {
		t.Errorf("the monitor is at %q", got)
	}
	if got := log.tail(); got != text {
		t.Errorf("the tail is %q", got)
	}
	_, _ = log.Write([]byte(strings.Repeat("x", 2*tailBytes)))
	if got := log.tail(); len(got) != tailBytes {
		t.Errorf("the tail has %d bytes", len(got))
	}
}
