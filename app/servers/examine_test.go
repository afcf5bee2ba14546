package servers_test

import (
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/spf13/pflag"

	"outboxd/app/servers"
	"outboxd/config"
)

// The examination expects as many connections of each role as the comments of the
// chart's values say, besides those for tasks.
func TestTheChartSaysHowManyConnectionsAProcessOpens(t *testing.T) {
	t.Parallel()
	values, err := os.ReadFile("../../deploy/helm/outboxd/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]int{}
	for _, line := range regexp.MustCompile(`(?m)^#   (\w+): (\d+)`).FindAllStringSubmatch(string(values), -1) {
		said[line[1]], _ = strconv.Atoi(line[2])
	}
	for _, role := range config.AllRoles() {
		flags := pflag.NewFlagSet("outboxd", pflag.ContinueOnError)
		config.AddFlags(flags)
		if err := flags.Parse([]string{"--roles=" + string(role), "--monitor-addr="}); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(flags, nil, t.TempDir(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if want := servers.ExamineOptions(c).Conns - c.Sizes().TaskConns; said[string(role)] != want {
			t.Errorf("the chart says %d connections of the role %s, and the examination expects %d", said[string(role)], role, want)
		}
	}
	if len(said) != len(config.AllRoles()) {
		t.Errorf("the chart says %v", said)
	}
}
