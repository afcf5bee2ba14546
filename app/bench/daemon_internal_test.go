package bench

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

func TestCommandCalls(t *testing.T) {
	t.Parallel()
	const text = "# Commandstats\r\ncmdstat_evalsha:calls=12,usec=500,usec_per_call=41.67,rejected_calls=0,failed_calls=0\r\n" +
		"cmdstat_info:calls=3,usec=9\r\ncmdstat_client|setinfo:calls=2,usec=1\r\ncmdstat_x:calls=many\r\n\r\n"
	got := commandCalls(text)
	if want := map[string]int{"evalsha": 12, "client|setinfo": 2}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func FuzzCommandCalls(f *testing.F) {
	f.Add("cmdstat_evalsha:calls=12,usec=500\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		for name := range commandCalls(text) {
			if name == "info" {
				t.Error("the INFO itself counts")
			}
		}
	})
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

func TestBreakdown(t *testing.T) {
	t.Parallel()
	arms := breakdown("x: ", map[string]int{"a": 5, "gone": 1}, map[string]int{"a": 5, "b": 10, "c": 30, "d": 10, "gone": 1}, 10)
	var names []string
	for _, arm := range arms {
		names = append(names, arm.Name)
	}
	if strings.Join(names, " ") != "x: c x: b x: d" || arms[0].Figures["per_second"] != 3 {
		t.Errorf("%+v", arms)
	}
}
