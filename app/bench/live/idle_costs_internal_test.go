package live

import (
	"maps"
	"strings"
	"testing"
)

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
